// Template: what kind of agent may be run, and how its desired row becomes a WorkloadSpec and files. Pure.
//
// Templates are folders (templates/<name>/template.yaml) read by config/template_file; this header is what they mean.
// Text values may hold ${agent_id}, ${agent_name}, ${model}, ${gateway_token} and ${secret.<NAME>}; an unset
// secret renders as "", and a line of a file that holds nothing but unset secrets is left out. Parts of the
// configuration that belong together (a channel, with its switch and its token) are there only when their secrets are
// set. Nothing secret may stand outside `files` and `config`: the loader refuses it.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/egress.hpp"
#include "controller/core/result.hpp"

namespace creel {

struct TemplateFile {
  std::string path;
  std::string content;  // with placeholders
  int mode = 0600;
  bool restart = false;
  bool merge = false;  // see VolumeFile; left out when no line of it is left
};

// A part of the configuration that is merged over the rest when every one of `secrets` is set.
struct ConfigPart {
  std::vector<std::string> secrets;
  std::string content;  // JSON text of an object, with placeholders, in its keys too
};

struct Template {
  std::string name;  // folder name: [a-z0-9-]{1,32}
  std::string description;
  std::string version;  // of the agent software: "2026.3.13"
  std::string image;
  std::vector<std::string> image_allowlist;  // repositories an update may take its image from
  std::string build_script;                  // absolute path of build-image.sh, "" = none
  std::string gateway;                       // adapter: "openclaw" | "reference"
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::map<std::string, std::string> labels;  // of the container; of placeholders ${agent_id} alone
  std::string user = "1000:1000";
  int uid = 1000;
  int gid = 1000;
  std::string working_dir;
  std::string state_dir;
  std::map<std::string, std::string> tmpfs;
  bool read_only_root = true;
  bool init = true;
  std::uint16_t port = 0;
  std::int64_t stop_grace_seconds = 10;
  std::int64_t nofile = 1024;
  std::int64_t pids = 256;
  std::int64_t min_memory_bytes = 0;  // a plan with less is refused at provisioning
  Readiness readiness;
  std::string config_path;  // file the rendered configuration goes to, relative to state_dir
  std::string config_base;  // JSON text with placeholders: what Creel needs to be in force
  std::vector<ConfigPart> config_when;
  std::vector<std::string>
      protected_keys;  // dotted keys the owner's fragment may not set ("gateway.bind"); prefix match
  std::map<std::string, std::string> models;  // documented word -> the agent's own model id ("claude-opus-4-6" -> ...)
  std::string default_model;                  // "" = claude-opus-4-6
  // aiProvider of the API -> the model of an agent that names none ("openrouter" -> ...); without one: default_model.
  std::map<std::string, std::string> provider_models;
  std::vector<TemplateFile> files;
  EgressWish egress;  // of an agent whose owner says nothing
  // What resetting the memory clears: paths relative to state_dir, folders with a closing "/"; a part may be "*".
  std::vector<std::string> memory;
};

// What a row contributes to the rendering.
struct RenderInput {
  AgentId id;
  std::string name;
  std::string model;
  std::string image;                           // "" = the template's
  Resources resources;                         // of the plan
  std::string config;                          // the owner's JSON fragment (an object), "" = {}
  std::map<std::string, std::string> secrets;  // "gateway_token" and others by name
  std::optional<EgressWish> egress;            // nullopt: the template's
};

struct Rendered {
  WorkloadSpec spec;
  std::vector<VolumeFile> files;
};

// invalid: the fragment is not a JSON object, or sets a protected key (`field` names it).
Result<void> check_config_fragment(const Template& tmpl, const std::string& fragment);
// config_base with the parts of config_when and then the fragment merged over it (objects merge, anything else
// replaces). Placeholders are filled in only in the template's own texts, never in the owner's fragment.
Result<Rendered> render(const Template& tmpl, const RenderInput& input, const EgressPresets& presets = {});

// The documented words (claude-opus-4-6, gpt-4, custom), or any provider/model id of [A-Za-z0-9._:/-]{1,128}.
bool valid_model(std::string_view model);

class TemplateSet {
 public:
  explicit TemplateSet(std::vector<Template> templates, EgressPresets presets = {})
      : templates_(std::move(templates)), presets_(std::move(presets)) {}
  const Template* find(std::string_view name) const;
  const std::vector<Template>& all() const { return templates_; }
  const EgressPresets& presets() const { return presets_; }

 private:
  std::vector<Template> templates_;
  EgressPresets presets_;
};

}  // namespace creel
