// What the coroutines of this folder wait with. Inside api/server only, in .cpp files and in what they alone include.
//
// Trap of this compiler (g++ 12): an aggregate or capturing lambda written inside a co_await expression is destroyed
// twice. Every operand has a name of its own.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <tuple>

namespace creel::api {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

// Errors come back as values: `Tuple` of what moves bytes, std::tuple<error_code> of what just waits.
inline constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
using Tuple = std::tuple<error_code, std::size_t>;

}  // namespace creel::api
