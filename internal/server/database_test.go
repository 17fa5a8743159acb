package server

import (
	"testing"

	"github.com/muster-id/muster/internal/store/postgres/pgtest"
)

// databases are the addresses of the PostgreSQL databases of data folders, nil
// while tests run on SQLite.
var databases map[string]string

// placeStore gives the data folder its database, the same each time.
func placeStore(t *testing.T, s *Settings) {
	t.Helper()
	if databases == nil {
		return
	}
	if databases[s.Data] == "" {
		databases[s.Data] = pgtest.Database(t)
	}
	s.Config.Store.URL = databases[s.Data]
}

// TestTheStoriesHoldOnPostgreSQL runs tests of the whole server again on the
// other engine.
func TestTheStoriesHoldOnPostgreSQL(t *testing.T) {
	pgtest.Need(t)
	databases = map[string]string{}
	defer func() { databases = nil }()
	for name, story := range map[string]func(*testing.T){
		"the thief is cut off":               TestTheThiefIsCutOffAndTheWorkloadGoesOn,
		"everything is kept over a restart":  TestEverythingIsProvenAndKeptOverARestart,
		"importing twice changes nothing":    TestImportingTwiceChangesNothing,
		"a key in several places":            TestAKeyInSeveralPlacesIsContainedOnceAndLiftedWhole,
		"an unproven sighting asks a person": TestAnUnprovenSightingAsksAPersonWhoMayApproveAndUndo,
		"nothing leaks into a list":          TestNothingOutsideOfTheScopeLeaksIntoAList,
		"totals count what lies in scope":    TestTotalsCountOnlyWhatLiesInTheScope,
		"a search finds nothing outside":     TestASearchFindsNothingOutsideOfTheScope,
	} {
		t.Run(name, story)
	}
}
