#include "reconciler/orphans.hpp"

#include <gmock/gmock.h>

#include "reconciler/runtime/sim/sim_runtime.hpp"
#include "tests/support/memory_orphan_store.hpp"

namespace creel {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;

const TimePoint kStart = *parse_rfc3339("2026-03-19T00:00:00Z");
const AgentId kAgent = *AgentId::parse("00000000000000aa");
const AgentId kOther = *AgentId::parse("00000000000000bb");

OwnObject object(ObjectKind kind, const std::string& id = "c1", const AgentId& agent = kAgent) {
  return {kind, id, id, agent.str(), true};
}

// Looks again and again, with the time going on by a period each time.
struct Looks {
  OrphanPolicy policy{};
  std::vector<OwnObject> objects{};
  std::map<AgentId, Fate> fates{{kAgent, Fate::deleted}};
  TimePoint now = kStart;
  Sightings sightings{};
  std::vector<Event> events{};

  std::vector<OrphanRemoval> look() {
    OrphanLook look = look_for_orphans(objects, fates, sightings, policy, now);
    sightings = std::move(look.sightings);
    events.insert(events.end(), look.events.begin(), look.events.end());
    return std::move(look.removals);
  }
  // How long it took until something was to be removed; nullopt: not within `limit`.
  std::optional<milliseconds> until_removal(milliseconds limit = std::chrono::hours{24 * 30}) {
    const TimePoint begin = now;
    for (; now - begin <= limit; now += policy.period)
      if (!look().empty()) return now - begin;
    return std::nullopt;
  }
};

TEST(Orphans, AreToldAtTheSecondLookAndRemovedAfterTheirGrace) {
  Looks looks{.objects = {object(ObjectKind::container)}};
  EXPECT_THAT(looks.look(), IsEmpty());
  EXPECT_THAT(looks.events, IsEmpty()) << "what is being removed just now is no news";
  looks.now += looks.policy.period;
  EXPECT_THAT(looks.look(), IsEmpty());
  ASSERT_THAT(looks.events, SizeIs(1));
  EXPECT_EQ(looks.events[0].reason, "OrphanFound");
  EXPECT_EQ(looks.events[0].agent, kAgent);
  EXPECT_EQ(looks.events[0].message,
            "container c1: its agent was deleted; it will be removed after 2026-03-19T01:00:00Z");
  looks.now = kStart + looks.policy.grace - 1ms;
  looks.sightings.begin()->second.orphan.last_seen = looks.now - looks.policy.period;
  EXPECT_THAT(looks.look(), IsEmpty());
  looks.now += 1ms;
  const auto removals = looks.look();
  ASSERT_THAT(removals, SizeIs(1));
  EXPECT_EQ(std::get<op::RemoveWorkload>(removals[0].operation).runtime_id, "c1");
  EXPECT_THAT(looks.events, SizeIs(1)) << "told once";
}

TEST(Orphans, AreNeitherWhatHasARowNorWhatCouldNotBeReadAbout) {
  Looks looks{.objects = {object(ObjectKind::container), object(ObjectKind::volume, "v", kOther)},
              .fates = {{kAgent, Fate::live}}};
  EXPECT_FALSE(looks.until_removal());
  EXPECT_THAT(looks.sightings, IsEmpty());
  EXPECT_THAT(looks.events, IsEmpty());
}

TEST(Orphans, BeginTheirGraceAnewWhenTheRowWasThereInBetween) {
  Looks looks{.objects = {object(ObjectKind::container)}};
  looks.look();
  looks.now += looks.policy.grace - looks.policy.period;
  looks.sightings.begin()->second.orphan.last_seen = looks.now;
  looks.fates[kAgent] = Fate::live;
  looks.look();
  EXPECT_THAT(looks.sightings, IsEmpty());
  looks.fates[kAgent] = Fate::deleted;
  EXPECT_EQ(looks.until_removal(), looks.policy.grace);
}

TEST(Orphans, BeginTheirGraceAnewWhenTheyWereNotListedInBetween) {
  Looks looks{.objects = {object(ObjectKind::container)}};
  looks.look();
  looks.now += looks.policy.period;
  looks.objects.clear();
  looks.look();
  looks.objects = {object(ObjectKind::container)};
  looks.now += looks.policy.period;
  EXPECT_EQ(looks.until_removal(), looks.policy.grace);
}

TEST(Orphans, BeginTheirGraceAnewAfterATimeWithoutALookOrAClockThatWasSet) {
  for (const milliseconds jump :
       {milliseconds{OrphanPolicy{}.period * 3 + 1ms}, milliseconds{-1ms}, milliseconds{-1h}, milliseconds{24h}}) {
    Looks looks{.objects = {object(ObjectKind::container)}};
    looks.look();
    looks.now += looks.policy.period;
    looks.look();
    looks.now += jump;
    EXPECT_EQ(looks.until_removal(), looks.policy.grace) << jump.count();
  }
}

TEST(Orphans, AreOthersWhenTheEngineHasMadeAnotherContainer) {
  Looks looks{.objects = {object(ObjectKind::container, "c1")}};
  looks.look();
  looks.now += looks.policy.period;
  looks.objects = {object(ObjectKind::container, "c2")};
  EXPECT_EQ(looks.until_removal(), looks.policy.grace);
}

TEST(Orphans, OfUnknownAgentsAreKeptUnlessAllAreToGo) {
  for (const ObjectKind kind : {ObjectKind::container, ObjectKind::helper, ObjectKind::volume, ObjectKind::backup}) {
    Looks looks{.objects = {object(kind)}, .fates = {{kAgent, Fate::unknown}}};
    EXPECT_FALSE(looks.until_removal()) << "the default";
    EXPECT_THAT(looks.events, SizeIs(1));
    EXPECT_THAT(looks.events.at(0).message, HasSubstr("never heard of its agent; it is kept"));
    Looks all{.policy = {.mode = OrphanMode::all}, .objects = {object(kind)}, .fates = {{kAgent, Fate::unknown}}};
    const bool data = kind == ObjectKind::volume || kind == ObjectKind::backup;
    EXPECT_EQ(all.until_removal(), data ? all.policy.volume_retention : all.policy.grace);
  }
}

TEST(Orphans, AreAllKeptInAReport) {
  Looks looks{.policy = {.mode = OrphanMode::report}, .objects = {object(ObjectKind::container)}};
  EXPECT_FALSE(looks.until_removal());
  EXPECT_THAT(looks.events, SizeIs(1));
}

// A container of an image that was committed from an agent's container has its labels, whoever runs it.
TEST(Orphans, OfAnotherNameOrWithoutAnAgentsIdAreReportedAndNeverRemoved) {
  OwnObject copy = object(ObjectKind::container, "copy");
  copy.given_name = false;
  OwnObject nameless{ObjectKind::volume, "v", "v", "not an id", false};
  for (const Fate fate : {Fate::live, Fate::deleted, Fate::unknown}) {
    Looks looks{.policy = {.mode = OrphanMode::all}, .objects = {copy, nameless}, .fates = {{kAgent, fate}}};
    EXPECT_FALSE(looks.until_removal());
    ASSERT_THAT(looks.events, SizeIs(2));
    for (const auto& [key, sighting] : looks.sightings) EXPECT_EQ(sighting.orphan.cause, "NameNotGiven");
  }
}

TEST(Orphans, GoWithTheVolumeLastAndOnlyWhenNothingOfTheAgentHasToStay) {
  Looks looks{.objects = {object(ObjectKind::volume, "v"), object(ObjectKind::backup, "b"),
                          object(ObjectKind::helper, "h"), object(ObjectKind::container, "c")}};
  ASSERT_TRUE(looks.until_removal());
  const auto removals = looks.look();
  ASSERT_THAT(removals, SizeIs(4));
  EXPECT_TRUE(std::holds_alternative<op::RemoveWorkload>(removals[0].operation));
  EXPECT_TRUE(std::holds_alternative<op::RemoveWorkload>(removals[1].operation));
  EXPECT_TRUE(std::holds_alternative<op::RemoveBackup>(removals[2].operation));
  EXPECT_TRUE(std::holds_alternative<op::RemoveStorage>(removals[3].operation));
  // A copy that appeared a moment ago has its own grace, and the volume's removal would take it along.
  looks.objects = {object(ObjectKind::volume, "v"), object(ObjectKind::backup, "b2")};
  EXPECT_THAT(looks.look(), IsEmpty());
}

// --- the search, on a simulated engine ---

class OrphanSearchTest : public testing::Test {
 protected:
  OrphanSearchTest() {
    runtime.images = {"agent:1"};
    WorkloadSpec spec;
    spec.image = "agent:1";
    EXPECT_TRUE(runtime.apply(op::CreateWorkload{kAgent, spec, "hash", 1, {}}, {}));
    runtime.backups[kAgent] = {};
    runtime.calls.clear();
    store.known[kAgent] = Fate::deleted;
  }
  void passes(milliseconds time) {
    for (const TimePoint end = now + time; now < end; now += OrphanPolicy{}.period) search.pass({});
    search.pass({});
  }

  TimePoint now = kStart;
  SimRuntime runtime{[this] { return now; }};
  test::MemoryOrphanStore store;
  std::optional<std::uint64_t> term{1};
  OrphanSearch search{{runtime, store, [this] { return now; }, OrphanPolicy{}, [this] { return term; }}};
};

TEST_F(OrphanSearchTest, ReportsThenRemovesAContainerItsVolumeAndItsCopyWithAnEventForEach) {
  search.pass({});
  EXPECT_THAT(store.report.orphans, SizeIs(3));
  EXPECT_EQ(store.report.looked_at, now);
  passes(OrphanPolicy{}.grace);
  EXPECT_THAT(runtime.containers, IsEmpty());
  EXPECT_THAT(runtime.volumes, IsEmpty());
  EXPECT_THAT(runtime.backups, IsEmpty());
  EXPECT_THAT(store.reasons(),
              ElementsAre("OrphanFound", "OrphanFound", "OrphanFound", "OrphanRemoval", "OrphanRemoved",
                          "OrphanRemoval", "OrphanRemoved", "OrphanRemoval", "OrphanRemoved"));
  EXPECT_THAT(store.report.orphans, IsEmpty());
}

TEST_F(OrphanSearchTest, TakesAFailedListingForNoProof) {
  passes(OrphanPolicy{}.grace - OrphanPolicy{}.period * 4);
  const auto before = store.report.looked_at;
  runtime.fault = [](const std::string& call) { return call == "objects" ? SimFault::timeout : SimFault::none; };
  passes(OrphanPolicy{}.period * 5);
  EXPECT_THAT(store.report.problem, HasSubstr("could not be listed"));
  EXPECT_EQ(store.report.looked_at, before);
  EXPECT_THAT(store.report.orphans, SizeIs(3)) << "what was seen last";
  runtime.fault = {};
  now += OrphanPolicy{}.period;
  const TimePoint seen_again = now;
  search.pass({});
  EXPECT_THAT(runtime.calls, IsEmpty()) << "the grace is over, but nobody looked for a while";
  ASSERT_THAT(store.report.orphans, SizeIs(3));
  EXPECT_EQ(store.report.orphans[0].first_seen, seen_again);
  passes(OrphanPolicy{}.grace);
  EXPECT_THAT(runtime.containers, IsEmpty());
}

TEST_F(OrphanSearchTest, LeavesAloneWhatHasARowAgainInTheLastMoment) {
  passes(OrphanPolicy{}.grace - OrphanPolicy{}.period);
  now = kStart + OrphanPolicy{}.grace;
  int asked = 0;
  store.before_fates = [&] {
    if (++asked == 2) store.known[kAgent] = Fate::live;
  };
  search.pass({});
  EXPECT_GE(asked, 2);
  EXPECT_THAT(runtime.calls, IsEmpty());
  EXPECT_EQ(runtime.containers.size(), 1u);
}

TEST_F(OrphanSearchTest, RemovesNothingThatItCannotRecord) {
  passes(OrphanPolicy{}.grace - OrphanPolicy{}.period);
  now = kStart + OrphanPolicy{}.grace;
  store.term = 2;  // somebody else leads, and this process does not know it yet
  search.pass({});
  EXPECT_THAT(runtime.calls, IsEmpty());
  store.away = true;
  search.pass({});
  EXPECT_THAT(runtime.calls, IsEmpty());
}

TEST_F(OrphanSearchTest, DoesNothingWithoutTheLeaseAndBeginsAnewWithAnother) {
  passes(OrphanPolicy{}.grace - OrphanPolicy{}.period);
  term.reset();
  now = kStart + OrphanPolicy{}.grace;
  search.pass({});
  term = store.term = 2;
  search.pass({});
  EXPECT_THAT(runtime.calls, IsEmpty());
  EXPECT_EQ(store.report.orphans.at(0).first_seen, now);
}

TEST_F(OrphanSearchTest, SaysWhyARemovalFailedOnceAndTriesAgain) {
  runtime.fault = [](const std::string& call) { return call == "remove" ? SimFault::refused : SimFault::none; };
  passes(OrphanPolicy{}.grace + OrphanPolicy{}.period * 3);
  EXPECT_EQ(std::count(runtime.calls.begin(), runtime.calls.end(), "remove"), 4);
  const auto reasons = store.reasons();
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "OrphanRemoval-failed"), 2) << "container and volume";
  EXPECT_TRUE(runtime.volumes.contains(kAgent)) << "the container is still on it";
  runtime.fault = {};
  now += OrphanPolicy{}.period;
  search.pass({});
  EXPECT_THAT(runtime.containers, IsEmpty());
  EXPECT_THAT(runtime.volumes, IsEmpty());
}

TEST_F(OrphanSearchTest, DoesNotSeeAnotherControllersObjects) {
  runtime.containers.at(kAgent).owner = "somebody else";
  runtime.volumes.clear();
  runtime.backups.clear();
  passes(OrphanPolicy{}.grace * 2);
  EXPECT_THAT(store.events, IsEmpty());
  EXPECT_EQ(runtime.containers.size(), 1u);
}

}  // namespace
}  // namespace creel
