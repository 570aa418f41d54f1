// Reads templates/<name>/template.yaml and plans.yaml: strictly, so that a mistake shows at start and not in a
// container.
//
// An unknown or repeated key, a wrong type, a value out of range, a placeholder that does not exist, or a secret
// outside `config` and `files` is refused. Errors: ErrorKind::invalid; the message reads "<file>:<line>: <field>: <what
// is wrong>; <what to do>", `field` is the dotted key. Sizes in bytes. Threads: no state, call from any.
#pragma once

#include <string>
#include <vector>

#include "controller/core/plans.hpp"
#include "controller/core/result.hpp"
#include "controller/core/template.hpp"

namespace creel {

struct Config;

namespace config {

// The template in `folder` (its last component is the name), which holds template.yaml and perhaps build-image.sh.
Result<Template> load_template(const std::string& folder, const EgressPresets& presets = {});
// Every subfolder that holds a template.yaml, of each folder in turn; a later one wins over an earlier of the same
// name.
Result<std::vector<Template>> load_templates(const std::vector<std::string>& folders,
                                             const EgressPresets& presets = {});
Result<Plans> load_plans(const std::string& file);
// Presets of egress lists.
Result<EgressPresets> load_egress_presets(const std::string& file);

// What a controller runs with: the shipped templates and those of CREEL_TEMPLATES, and plans.yaml of the latter if it
// has one. OPENCLAW_IMAGE and CREEL_IMAGE_ALLOWLIST are applied; the default template is known to be there.
struct Catalog {
  TemplateSet templates;
  Plans plans;
};
Result<Catalog> load_catalog(const Config& config);

}  // namespace config
}  // namespace creel
