package authz

import (
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// Why says which kind of rule refused a request. It tells nothing of what is in the
// rule, which not everybody may read.
type Why string

// The kinds.
const (
	// WhyNoRule: no rule allows the caller this.
	WhyNoRule Why = "no_rule"
	// WhyCondition: rules do, and the condition of each is false.
	WhyCondition Why = "condition"
	// WhyDeny: a rule denies it.
	WhyDeny Why = "deny"
	// WhyUnknown: a rule asks for what is not known, or cannot be judged.
	WhyUnknown Why = "not_judged"
	// WhyConflict: the rules that allow it ask for what cannot be had together.
	WhyConflict Why = "conflict"
)

// whyRefused says which of the rules that were asked refused.
func whyRefused(d Decision, rules []*rule) Why {
	switch {
	case errors.Is(d.Failure, errConflict):
		return WhyConflict
	case d.Failure != nil:
		return WhyUnknown
	case d.Rule != "":
		return WhyDeny
	}
	for _, r := range rules {
		if r.Effect == EffectAllow {
			return WhyCondition
		}
	}
	return WhyNoRule
}

// Refusal is the error for what no rule allows.
func Refusal(action string, res Resource) error { return refusal(WhyNoRule, action, res) }

func refusal(why Why, action string, res Resource) error {
	what := strings.ReplaceAll(res.Type, "-", " ")
	if res.ID != "" {
		what += " " + fmt.Sprintf("%.64q", res.ID)
	}
	what = strings.ReplaceAll(action, "-", " ") + " the " + what
	text := "your roles do not allow to " + what
	switch why {
	case WhyCondition:
		text = "the policy lets you " + what + " on a condition only, which this request does not meet"
	case WhyDeny:
		text = "a rule of the policy denies you to " + what
	case WhyUnknown:
		text = "a rule of the policy for who may " + what + " cannot be judged for this request, which is therefore refused"
	case WhyConflict:
		return conflict()
	case WhyNoRule:
	}
	return apierr.New(apierr.PermissionDenied, "%s", text).
		WithMetadata("action", action).WithMetadata("resource_type", res.Type).WithMetadata("refused_by", string(why))
}
