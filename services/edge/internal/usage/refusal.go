package usage

import (
	"fmt"
	"strconv"
	"time"

	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// refusal is what a caller is told of a budget that has too little: whose it is, of what
// the caller is one, and how it stands, and of how many tokens each answer would fit unless
// fits is 0. The currency is that of money.
func refusal(r *budget.RefusedError, currency string, fits int64) string {
	b := r.Budget
	head := fmt.Sprintf("the budget %q (%s)", b.ID, scopeText(b))
	amount, n := amounts(b.Unit, currency)
	if b.Amount == 0 {
		return head + " allows nothing: it is of " + amount(0) + until(r)
	}
	why := " has too little left for this request:"
	switch {
	case r.Never():
		why = " is smaller than what this request may come to: shorten the prompt, or ask for fewer tokens (max_tokens);"
	case r.Settled >= b.Amount:
		why = " is used up:"
	}
	text := fmt.Sprintf("%s%s of %s%s, %s used and %s reserved, and this request may come to %s",
		head, why, amount(b.Amount), until(r), n(r.Settled), n(r.Held), n(r.Need))
	if fits > 0 {
		text += fmt.Sprintf(" (with max_tokens of at most %d it would fit this budget now)", fits)
	}
	return text
}

// amounts returns how an amount of a unit is written, with the unit and without.
func amounts(u budget.Unit, currency string) (whole, bare func(int64) string) {
	unit := " tokens"
	bare = func(n int64) string { return strconv.FormatInt(n, 10) }
	if u == budget.Money {
		unit, bare = " "+currency, func(n int64) string { return price.Micros(n).String() }
	}
	return func(n int64) string { return bare(n) + unit }, bare
}

// until is when the period ends, where it does.
func until(r *budget.RefusedError) string {
	if r.Resets.IsZero() {
		return ""
	}
	return " until " + r.Resets.UTC().Format(time.RFC3339)
}

func scopeText(b budget.Budget) string {
	what := map[budget.Every]string{budget.Day: "a day", budget.Month: "a month", budget.Total: "in all"}[b.Every]
	if b.Scope == budget.Tenant {
		return "of the tenant, " + what
	}
	return fmt.Sprintf("of the %s %q, %s", b.Scope, b.Name, what)
}
