package engine

import (
	"context"
	"math"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

const (
	// mostContext bounds what an engine may count where the model's context is not known,
	// in tokens: no model has so long a one.
	mostContext = 16 << 20
	// special is how many tokens more than was asked for an answer may have: some engines
	// count those that end it, too.
	special = 16
)

// limits is how many tokens a request can have. What an engine counts beyond them is
// wrong, and is not what its caller pays. The zero value limits nothing.
type limits struct{ prompt, completion int32 }

// limits returns what a request can have whose answer may have least tokens; an answer
// that nothing bounds is bounded by the context.
func (d *dialect) limits(op Operation, body *jsonbody.Object, least float64) limits {
	prompts := 1
	if p := body.Value(memberPrompt); op == Completion && len(p) > 0 && p[0] == '[' {
		prompts = len(promptsOf(p))
	}
	answers := 1.0
	for _, name := range [...]string{memberN, memberNOwn, memberBestOf} {
		if n, ok := whole(body.Value(name)); ok {
			answers = max(answers, n)
		}
	}
	each := float64(d.length())
	// Of a predicted text what was not used counts as generated.
	if !isGiven(body.Value(memberPrediction)) {
		each = min(each, least)
	}
	return limits{prompt: times(d.length(), prompts), completion: count((each + special) * answers * float64(prompts))}
}

// The names of more answers than are returned, and of a text to compare with.
const (
	memberBestOf     = "best_of"
	memberPrediction = "prediction"
)

// whole reads a number that the engine is left to judge.
func whole(value []byte) (n float64, ok bool) {
	if !isGiven(value) {
		return 0, false
	}
	if small, ok := digits(value); ok {
		return float64(small), true
	}
	return float(value)
}

// length is the most that a prompt or an answer can have.
func (d *dialect) length() int {
	if d.context > 0 {
		return d.context
	}
	return mostContext
}

func times(tokens, n int) int32 { return count(float64(tokens) * float64(n)) }

// hold leaves in u what is possible, and notes in u.odd whether something was not.
func (l limits) hold(u *counts) {
	if l == (limits{}) {
		l = limits{math.MaxInt32, math.MaxInt32}
	}
	was := *u
	u.prompt, u.completion = min(u.prompt, l.prompt), min(u.completion, l.completion)
	u.cached, u.audioPrompt = min(u.cached, u.prompt), min(u.audioPrompt, u.prompt)
	u.reasoning, u.audioCompletion = min(u.reasoning, u.completion), min(u.audioCompletion, u.completion)
	u.total = min(u.total, add(l.prompt, l.completion))
	u.odd = *u != was || was.odd
}

// answer returns a whole answer with the tokens that are possible. Where the engine told
// others, or none, the answer says those that count.
func (c *client) answer(ctx context.Context, body []byte, ch *chunk, l limits) (Answer, error) {
	u, told := readUsage(ch.usage.Of(body))
	if !told {
		u.completion = estimatedTokens(ch.choices.Of(body))
	}
	estimated := u.completion > 0 && !told
	l.hold(&u)
	usage := noUsage()
	if told || estimated {
		usage = u.usage()
		usage.Estimated = estimated
	}
	if u.odd && !estimated {
		c.impossible(ctx)
	}
	if u.odd || estimated {
		var err error
		if body, err = jsonbody.Set(body, jsonbody.Named(memberUsage), jsonbody.Member{Name: memberUsage, Value: usageText(usage)}); err != nil {
			return Answer{}, unreadable(err)
		}
	}
	return Answer{Body: body, Usage: usage}, nil
}

// holdPrompts is hold for n texts that the engine was given, none of which has an answer.
func (c *client) holdPrompts(ctx context.Context, u *commonv1.TokenUsage, n int) {
	if most := times(c.d.length(), n); u.GetPromptTokens() > most {
		u.PromptTokens = most
		bound(u)
		c.impossible(ctx)
	}
}

// impossible tells that the engine counts what cannot be.
func (c *client) impossible(ctx context.Context) {
	if c.d.impossible != nil {
		c.d.impossible(ctx)
	}
}
