// App: the running controller. The only place that constructs things, connects them, and orders start and stop.
#pragma once

namespace creel {

struct Config;

// Runs API and reconciler until SIGTERM or SIGINT. Returns the process's exit code; a failure to start has been
// reported as one line on standard error.
int run_serve(const Config& config);

}  // namespace creel
