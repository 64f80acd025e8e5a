package batch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// visitor is one random caller.
type visitor struct {
	of        engine.EmbedRequest
	bad, boom bool
	leaves    time.Duration // 0: never
	got       answer
}

func randomVisitor(rnd *rand.Rand, name int) *visitor {
	v := &visitor{}
	v.of.InputType = []string{"", "query"}[rnd.IntN(2)]
	v.of.Dimensions = 5 * rnd.IntN(2)
	inputs := 1 + rnd.IntN(4)
	if rnd.IntN(8) == 0 {
		inputs = 1 + rnd.IntN(60)
	}
	for i := range inputs {
		text := fmt.Sprintf("text %d of %d %s", i, name, strings.Repeat("w ", rnd.IntN(30)))
		switch rnd.IntN(40) {
		case 0:
			v.bad, text = true, "bad "+text
		case 1:
			v.boom, text = true, "boom "+text
		case 2:
			v.of.Inputs = append(v.of.Inputs, engine.Input{Tokens: []int32{int32(name), int32(i)}})
			continue
		}
		v.of.Inputs = append(v.of.Inputs, engine.Input{Text: text})
	}
	if rnd.IntN(5) == 0 {
		v.leaves = time.Duration(1 + rnd.Int64N(int64(200*time.Millisecond)))
	}
	return v
}

// Whatever comes, each caller gets its own vectors or its own error, and all
// tokens that the engine told are accounted for.
func TestRandomCallers(t *testing.T) {
	for seed := range 150 {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			cfg := Config{Calls: rnd.IntN(4), Linger: time.Duration(rnd.IntN(3)) * time.Millisecond, CountTokens: true}
			inBubble(t, cfg, func(r *rig) {
				r.engine.callTime, r.engine.tokenTime = time.Duration(rnd.IntN(10))*time.Millisecond, 10*time.Microsecond
				var e Engine = r.engine
				counts := rnd.IntN(2) == 0
				if counts {
					e = &counting{r.engine, time.Millisecond, nil}
				}
				all := r.visit(rnd, e)
				var usage int64
				for i, v := range all {
					r.judge(i, v, counts)
					usage += int64(v.got.out.Usage.GetPromptTokens())
				}
				if usage+r.sees.unclaimed != r.engine.given {
					r.Errorf("%d tokens answered and %d unclaimed, of %d", usage, r.sees.unclaimed, r.engine.given)
				}
			})
		})
	}
}

// visit has random callers come at random times, and waits until all have their
// answers.
func (r *rig) visit(rnd *rand.Rand, e Engine) []*visitor {
	all := make([]*visitor, 5+rnd.IntN(60))
	var wg sync.WaitGroup
	for i := range all {
		v := randomVisitor(rnd, i)
		all[i] = v
		wg.Go(func() {
			ctx := r.Context()
			if v.leaves > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, v.leaves)
				defer cancel()
			}
			v.got.out, v.got.err = r.batcher.Embed(ctx, e, v.of, 1)
		})
		pass(time.Duration(rnd.Int64N(int64(8 * time.Millisecond))))
	}
	wg.Wait()
	pass(time.Minute) // what is still computed for nobody
	return all
}

func (r *rig) judge(i int, v *visitor, counts bool) {
	r.Helper()
	reason := apierr.ReasonOf(v.got.err)
	switch {
	case v.leaves > 0 && reason == apierr.DeadlineExceeded:
	case v.bad && reason == apierr.InvalidArgument:
		e := apierr.From(v.got.err)
		var at int
		if n, _ := fmt.Sscanf(e.Field, "input[%d]", &at); n == 1 && (at >= len(v.of.Inputs) || !strings.HasPrefix(e.Message, v.of.Inputs[at].Text)) {
			r.Errorf("caller %d: %v is not about its input", i, v.got.err)
		}
	case v.boom && reason == apierr.EngineFailed:
	case v.bad || v.boom:
		r.Errorf("caller %d, bad %v, boom %v: %v", i, v.bad, v.boom, v.got.err)
	default:
		r.check(v.of, v.got)
		exact := 0
		for _, in := range v.of.Inputs {
			exact += tokensOf(in)
		}
		if counts && int(v.got.out.Usage.GetPromptTokens()) != exact {
			r.Errorf("caller %d: %d tokens, want %d", i, v.got.out.Usage.GetPromptTokens(), exact)
		}
	}
}
