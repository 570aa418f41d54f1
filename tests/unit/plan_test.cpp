#include "reconciler/plan.hpp"

#include <gtest/gtest.h>

#include "tests/support/support.hpp"

namespace creel {
namespace {

const TimePoint kNow = std::chrono::sys_days{std::chrono::year{2026} / 3 / 19};
const Policy kPolicy;

DesiredAgent wanted(DesiredState state = DesiredState::running) {
  DesiredAgent desired;
  desired.id = *AgentId::parse("00000000000000aa");
  desired.state = state;
  desired.generation = 1;
  desired.spec.image = "agent:1";
  desired.spec.state_dir = "/state";
  desired.spec_hash = "hash-1";
  desired.files = {{"config.json", "{}", 0600, 1000, 1000, false}};
  desired.files_hash = "files-1";
  return desired;
}

Observed nothing() {
  Observed observed;
  observed.workload_presence = Presence::absent;
  observed.storage_presence = Presence::absent;
  observed.image = ImageState::present;
  return observed;
}

Observed container(ContainerState state) {
  Observed observed;
  observed.workload_presence = Presence::present;
  observed.storage_presence = Presence::present;
  observed.storage_ours = true;
  observed.image = ImageState::present;
  observed.workload.runtime_id = "c1";
  observed.workload.ours = true;
  observed.workload.spec_hash = "hash-1";
  observed.workload.state = state;
  observed.workload.address = "10.0.0.2:18789";
  if (state == ContainerState::running) observed.workload.started_at = kNow - milliseconds{5'000};
  return observed;
}

Observed ready() {
  Observed observed = container(ContainerState::running);
  observed.ready = true;
  return observed;
}

History delivered() {
  History history;
  history.files_delivered_to = "c1";
  history.files_hash = "files-1";
  history.last_runtime_id = "c1";
  return history;
}

Plan plan_of(const DesiredAgent& desired, const Observed& observed, const History& history = delivered(),
             TimePoint now = kNow) {
  return plan(desired, observed, history, Capabilities{}, kPolicy, now);
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& action : plan.actions) out.push_back(operation_name(action.operation));
  return out;
}

using Names = std::vector<std::string>;

TEST(Plan, DoesNothingWhenConverged) {
  const Plan result = plan_of(wanted(), ready());
  EXPECT_TRUE(result.actions.empty());
  EXPECT_EQ(to_string(result), "converged");
}

TEST(Plan, CreatesAndStartsWhatIsAbsent) { EXPECT_EQ(names(plan_of(wanted(), nothing())), (Names{"create", "start"})); }

TEST(Plan, OnlyWaitsWhenTheEngineDoesNotAnswer) {
  for (auto state : {DesiredState::running, DesiredState::stopped, DesiredState::deleted}) {
    const Plan result = plan_of(wanted(state), Observed{});
    EXPECT_TRUE(result.actions.empty());
    EXPECT_FALSE(result.forget);
    EXPECT_TRUE(result.requeue_after);
  }
}

TEST(Plan, NeverTouchesAContainerOfAnotherOwner) {
  Observed foreign = ready();
  foreign.workload.ours = false;
  foreign.workload.owner_label = "other";
  for (auto state : {DesiredState::running, DesiredState::stopped, DesiredState::deleted})
    EXPECT_TRUE(plan_of(wanted(state), foreign).actions.empty());
  EXPECT_NE(to_string(plan_of(wanted(), foreign)).find("controller other"), std::string::npos);
}

TEST(Plan, RemovesThenRecreatesWhenSpecHashDiffers) {
  DesiredAgent desired = wanted();
  desired.spec_hash = "hash-2";
  EXPECT_EQ(names(plan_of(desired, ready())), (Names{"remove", "create", "start"}));
}

TEST(Plan, KeepsTheOldContainerUntilTheNewImageIsThere) {
  DesiredAgent desired = wanted();
  desired.spec_hash = "hash-2";
  Observed observed = ready();
  observed.image = ImageState::absent;
  EXPECT_EQ(names(plan_of(desired, observed)), (Names{"pull-image"}));
  observed.image = ImageState::pulling;
  EXPECT_TRUE(plan_of(desired, observed).actions.empty());
}

TEST(Plan, RecreatesWhenIsolationWasAltered) {
  Observed observed = ready();
  observed.workload.hardening_ok = false;
  EXPECT_EQ(names(plan_of(wanted(), observed)), (Names{"remove", "create", "start"}));
}

TEST(Plan, StartsAnExitedContainerAndDeliversFilesFirstWhenTheyAreNew) {
  EXPECT_EQ(names(plan_of(wanted(), container(ContainerState::exited))), (Names{"start"}));
  DesiredAgent desired = wanted();
  desired.files_hash = "files-2";
  EXPECT_EQ(names(plan_of(desired, container(ContainerState::created))), (Names{"deliver-files", "start"}));
}

TEST(Plan, DeliversChangedFilesToARunningAgentWithoutRestartingIt) {
  DesiredAgent desired = wanted();
  desired.files_hash = "files-2";
  EXPECT_EQ(names(plan_of(desired, ready())), (Names{"deliver-files"}));
}

TEST(Plan, LetsAnAgentSpeakOfOneConfigurationBeforeItGetsTheNext) {
  DesiredAgent desired = wanted();
  desired.readiness.config.taken = {"in force"};
  History history = delivered();
  history.files_hash = "files-0";
  history.delivered_run = ready().workload.started_at;
  history.delivered_at = kNow - kPolicy.config_patience + milliseconds{1};
  const Plan waits = plan_of(desired, ready(), history);
  EXPECT_TRUE(waits.actions.empty());
  EXPECT_TRUE(waits.defers_wish);
  history.delivered_at = kNow - kPolicy.config_patience;
  EXPECT_EQ(names(plan_of(desired, ready(), history)), (Names{"deliver-files"}));
  history.delivered_at = kNow;
  history.taken_files_hash = "files-0";
  EXPECT_EQ(names(plan_of(desired, ready(), history)), (Names{"deliver-files"})) << "it has spoken";
  history.delivered_known = true;
  EXPECT_TRUE(plan_of(desired, ready(), history).actions.empty()) << "of an earlier delivery of the same";
}

TEST(Plan, RestartsWhenAFileReadOnlyAtStartChanged) {
  DesiredAgent desired = wanted();
  desired.files_hash = "files-2";
  desired.restart_files_hash = "env-2";
  EXPECT_EQ(names(plan_of(desired, ready())), (Names{"deliver-files", "restart"}));
}

TEST(Plan, LeavesAProcessThatExitedToTheEngineWhichRestartsIt) {
  EXPECT_TRUE(plan_of(wanted(), container(ContainerState::restarting)).actions.empty());
}

TEST(Plan, DeliversAMendedConfigurationIntoACrashLoop) {
  DesiredAgent desired = wanted();
  desired.files_hash = "files-2";
  EXPECT_EQ(names(plan_of(desired, container(ContainerState::restarting))).front(), "deliver-files");
}

TEST(Plan, StopsWhatRunsAndIsContentWithWhatDoesNot) {
  EXPECT_EQ(names(plan_of(wanted(DesiredState::stopped), ready())), (Names{"stop"}));
  EXPECT_EQ(names(plan_of(wanted(DesiredState::stopped), container(ContainerState::restarting))), (Names{"stop"}));
  for (auto state : {ContainerState::created, ContainerState::exited, ContainerState::dead})
    EXPECT_TRUE(plan_of(wanted(DesiredState::stopped), container(state)).actions.empty());
  EXPECT_TRUE(plan_of(wanted(DesiredState::stopped), nothing()).actions.empty());
}

TEST(Plan, CarriesARestartOutExactlyOnceEvenWhenItsAnswerIsLost) {
  DesiredAgent desired = wanted();
  desired.restart_wish = 1;
  const Observed before = ready();
  History history = learn(desired, before, delivered(), kPolicy, kNow);
  const Plan first = plan_of(desired, before, history);
  ASSERT_EQ(names(first), (Names{"restart"}));
  history = intend(desired, before, history, first.actions[0], kNow);
  // The answer was lost and the controller died; the run seen next began at another time.
  Observed after = before;
  after.workload.started_at = kNow;
  history = learn(desired, after, history, kPolicy, kNow);
  EXPECT_TRUE(plan_of(desired, after, history).actions.empty());
  // Had the restart not happened, it is asked for again.
  EXPECT_EQ(names(plan_of(desired, before, intend(desired, before, delivered(), first.actions[0], kNow))),
            (Names{"restart"}));
}

TEST(Plan, TakesARestartWhoseProcessEndedAgainForCarriedOut) {
  DesiredAgent desired = wanted();
  desired.restart_wish = 1;
  History history = delivered();
  history.restart_intent = 1;
  history.restart_from = kNow - milliseconds{60'000};
  Observed observed = container(ContainerState::restarting);
  observed.workload.started_at = history.restart_from;
  EXPECT_EQ(learn(desired, observed, history, kPolicy, kNow).restart_done, 0u);
  observed.workload.started_at = kNow - milliseconds{1'000};
  EXPECT_EQ(learn(desired, observed, history, kPolicy, kNow).restart_done, 1u);
}

TEST(Plan, RepairsOnce) {
  DesiredAgent desired = wanted();
  desired.repair_wish = 1;
  History history = delivered();
  const Plan first = plan_of(desired, ready(), history);
  ASSERT_EQ(names(first), (Names{"remove", "create", "start"}));
  history = intend(desired, ready(), history, first.actions[0], kNow);
  Observed after = ready();
  after.workload.runtime_id = "c2";
  history = learn(desired, after, history, kPolicy, kNow);
  history.files_delivered_to = "c2";
  EXPECT_TRUE(plan_of(desired, after, history).actions.empty());
}

TEST(Plan, StopsClearsTheMemoryAndStartsAgain) {
  DesiredAgent desired = wanted();
  desired.reset_wish = 1;
  desired.memory_paths = {"notes/"};
  const Plan running = plan_of(desired, ready());
  ASSERT_EQ(names(running), (Names{"stop", "clear-memory", "start"}));
  EXPECT_EQ(std::get<op::ClearStorage>(running.actions[1].operation).paths, desired.memory_paths);
  // Once cleared it is not cleared again, whatever was lost: what the agent learned since is its own.
  const History cleared = succeeded(desired, delivered(), running.actions[1], "", kNow);
  EXPECT_EQ(names(plan_of(desired, container(ContainerState::exited), cleared)), (Names{"start"}));
  EXPECT_TRUE(plan_of(desired, ready(), cleared).actions.empty());
}

TEST(Plan, ClearsTheMemoryOfAStoppedAgentWithoutStartingIt) {
  DesiredAgent desired = wanted(DesiredState::stopped);
  desired.reset_wish = 1;
  EXPECT_EQ(names(plan_of(desired, container(ContainerState::exited))), (Names{"clear-memory"}));
  EXPECT_EQ(names(plan_of(desired, ready())), (Names{"stop", "clear-memory"}));
  Observed only_volume = nothing();
  only_volume.storage_presence = Presence::present;
  EXPECT_EQ(names(plan_of(desired, only_volume)), (Names{"clear-memory"}));
  only_volume.storage_presence = Presence::unknown;
  EXPECT_TRUE(plan_of(desired, only_volume).actions.empty());
  EXPECT_EQ(learn(desired, nothing(), {}, kPolicy, kNow).reset_done, 1u) << "no volume, no memory";
}

TEST(Plan, ClearsTheMemoryBeforeAContainerIsMadeAnew) {
  DesiredAgent desired = wanted();
  desired.reset_wish = 1;
  desired.spec_hash = "hash-2";
  EXPECT_EQ(names(plan_of(desired, ready())), (Names{"stop", "clear-memory", "remove", "create", "start"}));
}

TEST(Plan, NeverClearsTheMemoryOfADeletedAgent) {
  DesiredAgent desired = wanted(DesiredState::deleted);
  desired.reset_wish = 1;
  EXPECT_EQ(names(plan_of(desired, ready())), (Names{"remove"}));
}

TEST(Plan, DeletedNeverCreates) {
  for (Presence storage : {Presence::absent, Presence::present, Presence::unknown}) {
    Observed observed = nothing();
    observed.storage_presence = storage;
    observed.storage_ours = true;
    DesiredAgent desired = wanted(DesiredState::deleted);
    desired.deleted_at = kNow;
    for (const auto& name : names(plan_of(desired, observed))) EXPECT_NE(name, "create");
  }
  EXPECT_EQ(names(plan_of(wanted(DesiredState::deleted), ready())), (Names{"remove"}));
}

TEST(Plan, KeepsTheVolumeOfADeletedAgentUntilItsRetentionEnds) {
  DesiredAgent desired = wanted(DesiredState::deleted);
  desired.deleted_at = kNow;
  Observed observed = nothing();
  observed.storage_presence = Presence::present;
  observed.storage_ours = true;
  const TimePoint end = kNow + kPolicy.volume_retention;
  EXPECT_TRUE(plan_of(desired, observed, {}, end - milliseconds{1}).actions.empty());
  EXPECT_EQ(names(plan_of(desired, observed, {}, end)), (Names{"remove-volume"}));
  desired.purge = true;
  EXPECT_EQ(names(plan_of(desired, observed)), (Names{"remove-volume"}));
}

TEST(Plan, ForgetsOnlyWhenContainerAndVolumeAreKnownToBeGone) {
  EXPECT_TRUE(plan_of(wanted(DesiredState::deleted), nothing()).forget);
  Observed observed = nothing();
  observed.storage_presence = Presence::unknown;
  EXPECT_FALSE(plan_of(wanted(DesiredState::deleted), observed).forget);
}

TEST(Plan, KeepsAndPurgesTheCopyThatADeletionInTheMiddleOfARollBackLeaves) {
  DesiredAgent desired = wanted(DesiredState::deleted);
  desired.deleted_at = kNow;
  History history;
  history.update.step = UpdateStep::rolling_back;
  history.update.backup = history.update.copied = true;
  EXPECT_NE(plan_of(desired, nothing(), history).waiting_for, "") << "the data is in the copy";
  EXPECT_FALSE(plan_of(desired, nothing(), history).forget);
  desired.purge = true;
  const Plan purge = plan_of(desired, nothing(), history);
  ASSERT_EQ(names(purge), (Names{"remove-volume"}));
  history = succeeded(desired, history, purge.actions[0], "", kNow);
  EXPECT_TRUE(plan_of(desired, nothing(), history).forget);
}

TEST(Plan, BacksOffAfterAFailureAndTriesAgainWhenTheTimeHasCome) {
  History history;
  history.failures = 3;  // 4 s
  history.last_failure = kNow;
  history.last_failure_reason = "StartFailed";
  const Plan early = plan_of(wanted(), nothing(), history, kNow + milliseconds{3'999});
  EXPECT_TRUE(early.actions.empty());
  EXPECT_EQ(early.requeue_after, milliseconds{1});
  EXPECT_EQ(names(plan_of(wanted(), nothing(), history, kNow + milliseconds{4'000})), (Names{"create", "start"}));
}

TEST(Plan, CreatesAtOnceWhenTheMissingImageAppears) {
  History history;
  history.failures = 9;
  history.last_failure = kNow;
  history.last_failure_reason = "ImageUnavailable";
  EXPECT_EQ(names(plan_of(wanted(), nothing(), history)), (Names{"create", "start"}));
}

TEST(Plan, WaitsForTheFenceBeforeAnAgentWithAnEgressListBegins) {
  DesiredAgent desired = wanted();
  const FenceView down{false, "ImageAbsent", "its image is not there"}, up{true, "InForce", ""};
  for (Observed observed : {nothing(), container(ContainerState::created), container(ContainerState::exited)}) {
    observed.fence = down;
    desired.spec.egress.reset();
    EXPECT_FALSE(plan_of(desired, observed).actions.empty()) << "an agent without a list waits for nothing";
    desired.spec.egress = std::vector<std::string>{"a.example"};
    const Plan waits = plan_of(desired, observed);
    EXPECT_TRUE(waits.actions.empty()) << to_string(waits);
    EXPECT_NE(waits.waiting_for.find("its image is not there"), std::string::npos) << waits.waiting_for;
    EXPECT_TRUE(waits.requeue_after);
    observed.fence = up;
    EXPECT_FALSE(plan_of(desired, observed).actions.empty());
    observed.fence.reset();
    EXPECT_FALSE(plan_of(desired, observed).actions.empty()) << "not looked yet: the start looks";
  }
  Observed runs = ready();
  runs.fence = down;
  EXPECT_TRUE(plan_of(desired, runs).actions.empty()) << "what runs is left running";
}

TEST(Plan, WaitsForReadinessWithinTheStartUpBudgetAndRestartsAfterIt) {
  DesiredAgent desired = wanted();
  desired.readiness.startup_budget = milliseconds{10'000};
  Observed observed = ready();
  observed.ready = false;
  observed.workload.started_at = kNow - milliseconds{10'000};
  EXPECT_TRUE(plan_of(desired, observed).actions.empty());
  observed.workload.started_at = kNow - milliseconds{10'001};
  const Plan late = plan_of(desired, observed);
  ASSERT_EQ(names(late), (Names{"restart"}));
  // A health restart counts as a failure, so that it is tried less and less often.
  EXPECT_EQ(succeeded(desired, delivered(), late.actions[0], "", kNow).failures, 1);
}

TEST(Plan, MakesAContainerElsewhereThatDoesNotGetReadyAfterARestartEither) {
  const DesiredAgent desired = wanted();
  Observed observed = ready();
  observed.ready = false;
  observed.workload.started_at = kNow - std::chrono::hours{2};
  History history = delivered();
  history.last_failure = kNow - std::chrono::hours{1};
  history.last_failure_reason = "NotReady";
  std::string done;
  for (history.failures = 1; history.failures <= 4; ++history.failures) {
    const Plan next = plan_of(desired, observed, history);
    for (const auto& action : next.actions) {
      done += std::string{operation_name(action.operation)} + " ";
      if (const auto* create = std::get_if<op::CreateWorkload>(&action.operation))
        done += "on " + std::to_string(create->alternative) + " ";
    }
  }
  EXPECT_EQ(done, "remove create on 1 start restart remove create on 2 start restart ");
  // The run in the new container is one more that may not get ready.
  history.failures = 3;
  const Plan anew = plan_of(desired, observed, history);
  EXPECT_EQ(succeeded(desired, history, anew.actions.back(), "", kNow).failures, 4);
  history.last_failure_reason = "StartFailed";
  const Plan first = plan_of(desired, observed, history);
  ASSERT_EQ(names(first), (Names{"restart"}));
  EXPECT_EQ(succeeded(desired, history, first.actions[0], "", kNow).failures, 1) << "another matter";
}

TEST(Plan, GivesARunThatWasReadyTheWholeBudgetToGetReadyAgain) {
  DesiredAgent desired = wanted();
  desired.readiness.startup_budget = milliseconds{10'000};
  Observed observed = ready();
  observed.workload.started_at = kNow - milliseconds{3'600'000};
  History history = learn(desired, observed, delivered(), kPolicy, kNow);
  observed.ready = std::nullopt;
  history = learn(desired, observed, history, kPolicy, kNow);
  EXPECT_TRUE(plan_of(desired, observed, history).actions.empty());
  EXPECT_EQ(names(plan_of(desired, observed, history, kNow + milliseconds{10'001})), (Names{"restart"}));
}

TEST(Plan, NeverRestartsAnAgentItHasNoWayToAsk) {
  Observed observed = ready();
  observed.ready = std::nullopt;
  observed.workload.address.clear();
  observed.workload.started_at = kNow - milliseconds{86'400'000};
  EXPECT_TRUE(plan_of(wanted(), observed).actions.empty());
}

TEST(Plan, ReadsAsTheExplainViewShowsIt) {
  DesiredAgent desired = wanted();
  desired.spec_hash = "hash-2";
  Observed missing = nothing();
  missing.image = ImageState::absent;
  History backing_off;
  backing_off.failures = 1;
  backing_off.last_failure = kNow;
  backing_off.last_failure_reason = "StartFailed";
  DesiredAgent deleted = wanted(DesiredState::deleted);
  deleted.deleted_at = kNow;
  Observed kept = nothing();
  kept.storage_presence = Presence::present;
  kept.storage_ours = true;
  DesiredAgent forgetful = wanted();
  forgetful.reset_wish = 1;
  History exits = delivered();
  exits.exits = {7, kNow, "OOMKilled", 137, 7, false};
  History held = exits;
  held.exits.held = true;
  const std::string text =
      "# spec drift\n" + to_string(plan_of(desired, ready())) + "\n# image missing\n" +
      to_string(plan_of(wanted(), missing)) + "\n# memory to be cleared\n" + to_string(plan_of(forgetful, ready())) +
      "\n# backing off\n" + to_string(plan_of(wanted(), nothing(), backing_off)) + "\n# engine away\n" +
      to_string(plan_of(wanted(), Observed{})) + "\n# deleted, volume kept\n" + to_string(plan_of(deleted, kept)) +
      "\n# deleted, all gone\n" + to_string(plan_of(deleted, nothing())) + "\n# ended again and again\n" +
      to_string(plan_of(wanted(), container(ContainerState::restarting), exits)) + "\n# held\n" +
      to_string(plan_of(wanted(), container(ContainerState::exited), held)) + "\n# converged\n" +
      to_string(plan_of(wanted(), ready()));
  EXPECT_EQ(text, test::golden("plan.txt", text));
}

TEST(Backoff, DoublesUpToItsMaximumAndStartsAtZero) {
  const BackoffRule rule{1'000, 300'000};
  EXPECT_EQ(backoff_delay(0, rule), milliseconds{0});
  EXPECT_EQ(backoff_delay(1, rule), milliseconds{1'000});
  EXPECT_EQ(backoff_delay(4, rule), milliseconds{8'000});
  EXPECT_EQ(backoff_delay(1'000, rule), milliseconds{300'000});
}

TEST(Backoff, HasARuleForEachCause) {
  const auto first = [](const char* reason) { return backoff_rule(reason, kPolicy).first; };
  EXPECT_LT(first("Exited"), first("OOMKilled"));
  EXPECT_LT(first("OOMKilled"), first("ConfigRefused"));
  EXPECT_LT(first("ImageUnavailable"), first("NotReady"));
  EXPECT_EQ(backoff_rule("EngineTimeout", kPolicy).most, milliseconds{60'000})
      << "an engine that is back is found soon";
  EXPECT_EQ(backoff_rule("EngineUnavailable", kPolicy).most, milliseconds{60'000});
  EXPECT_EQ(backoff_rule("CreateFailed", kPolicy).most, milliseconds{300'000});
}

TEST(Learn, ForgetsFailuresAfterALongHealthyTime) {
  History history = delivered();
  history.failures = 2;
  history.last_failure = kNow;
  history = learn(wanted(), ready(), history, kPolicy, kNow);
  EXPECT_EQ(history.failures, 2);
  history = learn(wanted(), ready(), history, kPolicy, kNow + kPolicy.healthy_reset);
  EXPECT_EQ(history.failures, 0);
}

TEST(Learn, ForgetsFailuresAndExitsOnlyAfterALongHealthyTime) {
  History history = delivered();
  history.failures = 3;
  history.exits.count = 7;
  history.exits.cause = "Exited";
  history.exits.last = kNow;
  history = learn(wanted(), ready(), history, kPolicy, kNow);
  history = learn(wanted(), ready(), history, kPolicy, kNow + kPolicy.healthy_reset - milliseconds{1});
  EXPECT_EQ(history.exits.count, 7);
  history = learn(wanted(), ready(), history, kPolicy, kNow + kPolicy.healthy_reset);
  EXPECT_EQ(history.exits.count, 0);
  EXPECT_EQ(history.exits.cause, "");
  EXPECT_EQ(history.failures, 0);
}

TEST(Succeeded, TakesNoProcessThatRanAlreadyForOneThatHasReadTheFiles) {
  DesiredAgent desired = wanted();
  desired.restart_files_hash = "key-2";
  History history = delivered();
  history.restart_files_hash = "key-1";
  const Action deliver{op::DeliverFiles{desired.id, "c1", "/state", "1000:1000", desired.files}, Why::config_changed,
                       ""};
  const Action start{op::StartWorkload{desired.id, "c1"}, Why::not_running, ""};
  const Observed observed = container(ContainerState::exited);
  history = succeeded(desired, intend(desired, observed, history, deliver, kNow), deliver, "", kNow);
  EXPECT_EQ(names(plan_of(desired, ready(), succeeded(desired, history, start, "", kNow))), Names{});
  EXPECT_EQ(names(plan_of(desired, ready(), succeeded(desired, history, start, kAlreadyRan, kNow))),
            (Names{"restart"}));
}

TEST(Succeeded, TriesAnotherConfigurationThanTheRefusedOneAtOnce) {
  History history = delivered();
  history.exits.count = 11;
  history.exits.cause = "ConfigRefused";
  const Action deliver{op::DeliverFiles{wanted().id, "c1", "/state", "1000:1000", wanted().files}, Why::config_changed,
                       ""};
  const Observed observed = container(ContainerState::restarting);
  history.deliveries = 1;
  EXPECT_EQ(succeeded(wanted(), intend(wanted(), observed, history, deliver, kNow), deliver, "", kNow).exits.count, 11)
      << "the very files that were refused";
  history.files_hash = "files-refused";
  EXPECT_EQ(succeeded(wanted(), intend(wanted(), observed, history, deliver, kNow), deliver, "", kNow).exits.count, 0);
}

TEST(Learn, TakesAVolumeThatIsAboutToBeRestoredForNoForgottenMemory) {
  DesiredAgent desired = wanted();
  desired.reset_wish = 1;
  History history;
  EXPECT_EQ(learn(desired, nothing(), history, kPolicy, kNow).reset_done, 1u);
  history.update.step = UpdateStep::rolling_back;
  EXPECT_EQ(learn(desired, nothing(), history, kPolicy, kNow).reset_done, 0u);
}

TEST(Learn, AsksAgainForAnImageThatWasRemovedAsSoonAsItWasThere) {
  DesiredAgent desired = wanted();
  desired.update_wish = 1;
  History history = delivered();
  history.update.wish = 1;
  history.update.step = UpdateStep::pulling;
  history.update.to.reference = "agent:2";
  history.update.pull_asked = true;
  Observed observed = ready();
  observed.candidate = ObservedImage{Presence::absent, "", "", PullState::succeeded, ""};
  history = learn(desired, observed, history, kPolicy, kNow);
  EXPECT_FALSE(history.update.pull_asked);
  EXPECT_EQ(history.update.failures, 1);
}

TEST(Failed, TakesTheReferenceWhenAnImageKnownByItsIdAloneIsGone) {
  History history;
  history.release = {"agent:2", "sha256:0123"};
  const Error gone{ErrorKind::failed, "gone", {}, {}};
  EXPECT_EQ(failed(history, {op::PullImage{"sha256:0123"}, Why::image_missing, ""}, gone, kNow).release,
            (Release{"agent:2", ""}));
  history.release.pin = "agent@sha256:0123";
  EXPECT_EQ(failed(history, {op::PullImage{"agent@sha256:0123"}, Why::image_missing, ""}, gone, kNow).release,
            history.release);
}

TEST(Failed, DoesNotBlameTheAgentWhenTheControllerWasStopping) {
  const History history =
      failed({}, {op::StartWorkload{}, Why::not_running, ""}, Error{ErrorKind::cancelled, "", {}, {}}, kNow);
  EXPECT_EQ(history.failures, 0);
}

TEST(Plan, StopsWhatRunsOnOfAStoppedAgentWithoutTheEngine) {
  DesiredAgent desired = wanted();
  desired.state = DesiredState::stopped;
  Observed observed = ready();
  observed.workload.state = ContainerState::exited;
  EXPECT_TRUE(plan_of(desired, observed).actions.empty());
  observed.workload.strays = 1;
  EXPECT_EQ(names(plan_of(desired, observed)), (Names{"stop"}));
}

}  // namespace
}  // namespace creel
