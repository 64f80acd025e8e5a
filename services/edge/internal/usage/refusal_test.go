package usage

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/budget"
)

// A refusal names the budget that the caller is counted by, in the words of its unit, and
// is no longer than what an error may say.
func TestARefusalSaysHowTheBudgetStands(t *testing.T) {
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		b          budget.Budget
		used, held int64
		need       int64
		resets     time.Time
		says       string
	}{
		"money of a team": {
			budget.Budget{ID: "lab", Scope: budget.Team, Name: "group lab", Every: budget.Month, Unit: budget.Money, Amount: 2_500_000},
			2_400_000, 1, 200_000, end,
			`the budget "lab" (of the team "group lab", a month) has too little left for this request: of 2.5 USD until 2026-06-01T00:00:00Z, 2.4 used and 0.000001 reserved, and this request may come to 0.2`,
		},
		"a key's in all": {
			budget.Budget{ID: "ci", Scope: budget.Key, Name: "k1", Every: budget.Total, Unit: budget.Tokens, Amount: 7},
			8, 0, 2,
			time.Time{},
			`the budget "ci" (of the key "k1", in all) is used up: of 7 tokens, 8 used and 0 reserved, and this request may come to 2`,
		},
		"nothing": {
			budget.Budget{ID: "no", Scope: budget.Tenant, Every: budget.Day, Unit: budget.Money},
			0, 0, 2, end,
			`the budget "no" (of the tenant, a day) allows nothing: it is of 0 USD until 2026-06-01T00:00:00Z`,
		},
	} {
		if got := refusal(&budget.RefusedError{Budget: c.b, Settled: c.used, Held: c.held, Need: c.need, Resets: c.resets}, "USD"); got != c.says {
			t.Errorf("%s: %s", name, got)
		}
	}
	const most = math.MaxInt64
	long := budget.Budget{ID: strings.Repeat("b", 64), Scope: budget.Team, Name: strings.Repeat("\u200b", 42), Every: budget.Month, Unit: budget.Money, Amount: most - 1}
	if got := refusal(&budget.RefusedError{Budget: long, Settled: most, Held: most, Need: most, Resets: end}, "USD"); len(got) > 1024 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
