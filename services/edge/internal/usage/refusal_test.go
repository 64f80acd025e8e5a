package usage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/price"
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
		if got := refusal(&budget.RefusedError{Budget: c.b, Settled: c.used, Held: c.held, Need: c.need, Resets: c.resets}, "USD", 0); got != c.says {
			t.Errorf("%s: %s", name, got)
		}
	}
	const most = math.MaxInt64
	long := budget.Budget{ID: strings.Repeat("b", 64), Scope: budget.Team, Name: strings.Repeat("\u200b", 42), Every: budget.Month, Unit: budget.Money, Amount: most - 1}
	if got := refusal(&budget.RefusedError{Budget: long, Settled: most, Held: most, Need: most, Resets: end}, "USD", most); len(got) > 1024 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// What a refusal says would fit does fit, and no more does.
func TestARefusalSaysWhatWouldFit(t *testing.T) {
	count := func(context.Context) (int64, error) { return 7, nil }
	broken := func(context.Context) (int64, error) { return 0, errors.New("no worker") }
	for name, c := range map[string]struct {
		unit   budget.Unit
		amount int64
		d      metering.Demand
		inHand int64
		fits   int64 // 0: nothing is said
	}{
		"tokens":                   {budget.Tokens, 100, metering.Demand{PromptBytes: 20, MaxTokens: 90, Answers: 1}, 0, 80},
		"beside others":            {budget.Tokens, 100, metering.Demand{PromptBytes: 20, MaxTokens: 90, Answers: 1}, 30, 49},
		"several answers":          {budget.Tokens, 100, metering.Demand{PromptBytes: 20, MaxTokens: 90, Answers: 3}, 0, 26},
		"money":                    {budget.Money, 1000, metering.Demand{PromptBytes: 20, MaxTokens: 500, Answers: 1}, 0, 490},
		"by the tokeniser":         {budget.Tokens, 100, metering.Demand{PromptBytes: 200, MaxTokens: 99, Answers: 1, Count: count}, 0, 93},
		"unbounded, counted":       {budget.Tokens, 100, metering.Demand{PromptBytes: 200, Answers: 1, Count: count}, 0, 93},
		"unbounded, by its bytes":  {budget.Tokens, 100, metering.Demand{PromptBytes: 20, Answers: 1}, 0, 0},
		"the tokeniser is away":    {budget.Tokens, 100, metering.Demand{PromptBytes: 20, MaxTokens: 99, Answers: 1, Count: broken}, 0, 80},
		"the prompt is too long":   {budget.Tokens, 100, metering.Demand{PromptBytes: 100, MaxTokens: 9, Answers: 1}, 0, 0},
		"fewer tokens change more": {budget.Tokens, 100, metering.Demand{PromptBytes: 20, MaxTokens: 90}, 0, 0},
	} {
		o := newOffice(t, nil)
		o.price("chat", price.Rates{Input: 1_000_000, Output: 2_000_000})
		o.budget(budget.Budget{ID: "lab", Scope: budget.Tenant, Every: budget.Day, Unit: c.unit, Amount: c.amount, Hard: true})
		if c.inHand > 0 {
			o.must(chat(1, c.inHand))
		}
		c.d.Kind, c.d.Model = metering.Generate, "chat"
		_, err := o.ask(as(t.Context()), c.d)
		text := apierr.From(err).Message
		says := fmt.Sprintf(" (with max_tokens of at most %d it would fit this budget now)", c.fits)
		if c.fits == 0 {
			says = "max_tokens of"
		}
		if strings.Contains(text, says) != (c.fits > 0) {
			t.Errorf("%s: %s, want %q", name, text, says)
		}
		if c.fits == 0 {
			continue
		}
		c.d.MaxTokens = (c.fits + 1) * c.d.Answers
		if _, err := o.ask(as(t.Context()), c.d); err == nil {
			t.Errorf("%s: more than %d fit", name, c.fits)
		}
		c.d.MaxTokens = c.fits * c.d.Answers
		if _, err := o.ask(as(t.Context()), c.d); err != nil {
			t.Errorf("%s: %d do not fit: %v", name, c.fits, err)
		}
	}
}
