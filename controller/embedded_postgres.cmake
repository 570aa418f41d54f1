# Included by controller/CMakeLists.txt.
creel_library(
  creel_embedded_postgres
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/embedded_postgres.cpp ${CMAKE_CURRENT_LIST_DIR}/embedded_postgres_process.cpp
          ${CMAKE_CURRENT_LIST_DIR}/embedded_postgres_setup.cpp
  USES creel_core
  WITH spdlog::spdlog Threads::Threads)
