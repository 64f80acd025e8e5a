package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// percent writes millionths.
func percent(weight int32) string {
	return strconv.FormatFloat(float64(weight)/10_000, 'f', -1, 64) + " %"
}

// join puts two parts of a sentence together.
func join(words, more string) string {
	if words == "" {
		return more
	}
	return words + "; " + more
}

func stepHeld(v store.RolloutView, seen Seen) string {
	r := v.Rollout
	words := fmt.Sprintf("%s held for %v", stageWords(r), elapsed(v).Truncate(time.Second))
	if seen.Known {
		words += fmt.Sprintf(", the candidate answered %d requests and the baseline %d", seen.Candidate, seen.Baseline)
	}
	if n := len(r.GetGuardrails()); n > 0 {
		words += fmt.Sprintf(", none of %d guardrails is broken", n)
	}
	return words
}

func splitWords(v store.RolloutView) string {
	who := "somebody else"
	if v.SplitBy != "" {
		who = v.SplitBy
	}
	if v.Split == nil {
		return "somebody else removed the split: resume to set it again, or abort"
	}
	list := make([]string, 0, len(v.Split.GetArms()))
	for _, a := range v.Split.GetArms() {
		list = append(list, fmt.Sprintf("%s to version %d", percent(a.GetWeight()), a.GetVersion()))
	}
	return fmt.Sprintf("%s changed the split, which now sends %s: resume to set it again, or abort", who, strings.Join(list, ", "))
}

func aliasWords(v store.RolloutView) string {
	name := v.Rollout.GetAlias()
	if v.Alias == nil {
		return fmt.Sprintf("somebody else removed the alias %q: resume to set it all the same, or abort", name)
	}
	return fmt.Sprintf("somebody else pointed the alias %q at version %d: resume to set it all the same, or abort",
		name, v.Alias.GetVersion())
}

// Progress says what was seen in the present step of a rollout that is not over,
// and what it waits for; nil otherwise.
func Progress(v store.RolloutView, seen Seen) (elapsedFor time.Duration, words string, ok bool) {
	r := v.Rollout
	switch r.GetState() {
	case pending:
		if v.Approval != nil {
			return 0, fmt.Sprintf("it waits until another than %s approves the alias change %s", r.GetCreatedBy(), r.GetApproval()), true
		}
		return 0, "it is about to begin", true
	case paused:
		return elapsed(v), "it is paused: resume, force or abort it", true
	case running:
		held, waits := holds(v, seen)
		if held {
			waits = "it is about to go on"
		}
		return elapsed(v), waits, true
	case registryv1.RolloutState_ROLLOUT_STATE_UNSPECIFIED, succeeded, rolledBack, aborted, failed:
	}
	return 0, "", false
}
