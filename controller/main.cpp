#include "controller/app.hpp"
#include "controller/cli/cli.hpp"

int main(int argc, char** argv) { return creel::cli::run(argc, argv, creel::run_serve); }
