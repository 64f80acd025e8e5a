package batch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

func TestAnIdleEngineIsNotWaitedFor(t *testing.T) {
	inBubble(t, Config{Linger: time.Second}, func(r *rig) {
		for range 3 {
			a := <-r.texts("a gate")
			r.check(request("a gate"), a)
			if a.took != r.engine.callTime || a.out.Usage.GetPromptTokens() != int32(tokensOf(engine.Input{Text: "a gate"})) {
				r.Errorf("took %v, usage %v", a.took, a.out.Usage)
			}
		}
		if !slices.Equal(r.sees.waits, []time.Duration{0, 0, 0}) {
			r.Errorf("waited %v", r.sees.waits)
		}
	})
}

// What comes while the engine is busy goes together, within its limits.
func TestABusyEngineGetsWhatCameMeanwhile(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		var answers []<-chan answer
		for i := range 12 {
			answers = append(answers, r.texts(fmt.Sprintf("text %d", i)))
		}
		for i, a := range answers {
			r.check(request(fmt.Sprintf("text %d", i)), <-a)
		}
		if got := r.engine.sizes(); !slices.Equal(got, []int{1, 8, 3}) {
			r.Errorf("calls of %v", got)
		}
		long := strings.Repeat("w ", 60)
		answers = nil
		for range 4 {
			answers = append(answers, r.texts(long))
		}
		for _, a := range answers {
			r.check(request(long), <-a)
		}
		if got := r.engine.sizes()[3:]; !slices.Equal(got, []int{1, 1, 1, 1}) {
			r.Errorf("long ones: calls of %v", got)
		}
	})
}

func TestOnlyWhatIsAlikeGoesTogether(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		first := r.texts("first")
		requests := []engine.EmbedRequest{
			request("a"), request("a"), request("a"), request("a"), request("a"),
			{Inputs: []engine.Input{{Text: "a"}, {Tokens: []int32{1, 2}}, {Text: "b"}, {Tokens: []int32{3}}}},
		}
		requests[1].InputType, requests[2].Dimensions, requests[3].Extra = "query", 7, []byte(`{"user":"x"}`)
		var answers []<-chan answer
		for _, of := range requests {
			answers = append(answers, r.ask(r.Context(), of))
		}
		r.check(request("first"), <-first)
		for i, of := range requests {
			r.check(of, <-answers[i])
		}
		got := r.engine.sizes()
		slices.Sort(got)
		if !slices.Equal(got, []int{1, 1, 1, 1, 2, 4}) { // the two plain ones with the texts of the last
			r.Errorf("calls of %v", got)
		}
	})
}

func TestManyInputsHoldNobodyUp(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		list := make([]string, 2048)
		for i := range list {
			list[i] = fmt.Sprintf("passage %d", i)
		}
		large := r.texts(list...)
		pass(25 * time.Millisecond) // in the middle of the third batch
		synctest.Wait()
		a := <-r.texts("query")
		r.check(request("query"), a)
		if want := 5*time.Millisecond + r.engine.callTime; a.took != want {
			r.Errorf("took %v, want what was left of one batch, and its own: %v", a.took, want)
		}
		b := <-large
		r.check(request(list...), b)
		if n := len(r.engine.sizes()); n != 257 {
			r.Errorf("%d calls", n)
		}
	})
}

// However many calls the engine computes at once, one caller has one.
func TestOneCallerHasOneBatch(t *testing.T) {
	inBubble(t, Config{Calls: 3}, func(r *rig) {
		list := make([]string, 40)
		for i := range list {
			list[i] = fmt.Sprintf("passage %d", i)
		}
		large := r.texts(list...)
		if n := r.running(); n != 1 {
			r.Errorf("%d of its batches run", n)
		}
		query := r.texts("query") // does not wait before the engine, though in it
		if n := r.running(); n != 2 {
			r.Errorf("%d batches run, with another's", n)
		}
		r.check(request("query"), <-query)
		r.check(request(list...), <-large)
		if got := r.engine.sizes(); !slices.Equal(got, []int{8, 1, 8, 8, 8, 8}) {
			r.Errorf("calls of %v", got)
		}
	})
}

func TestACallerThatLeaves(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		ctx, leave := context.WithCancel(r.Context())
		first := r.texts("first")
		leaving := r.ask(ctx, request("1", "2", "3", "4", "5", "6", "7", "8", "9", "10"))
		staying := r.texts("stay")
		r.check(request("first"), <-first) // and now both run together
		synctest.Wait()
		leave()
		if a := <-leaving; apierr.ReasonOf(a.err) != apierr.Cancelled || a.took != r.engine.callTime {
			r.Errorf("left: %v after %v", a.err, a.took)
		}
		r.check(request("stay"), <-staying)
		pass(time.Second)
		if got := r.engine.sizes(); !slices.Equal(got, []int{1, 8}) || r.engine.gone != 0 {
			r.Errorf("calls of %v, %d given up", got, r.engine.gone)
		}
		if r.sees.unclaimed == 0 {
			r.Error("nobody counted what was computed for the one that left")
		}
		// One that is alone takes its call with it.
		ctx, leave = context.WithCancel(r.Context())
		alone := r.ask(ctx, request("x"))
		leave()
		<-alone
		synctest.Wait()
		if r.engine.gone != 1 {
			r.Error("the engine computes for nobody")
		}
	})
}

// Those that were answered together are waited for, a little.
func TestLinger(t *testing.T) {
	for _, c := range []struct {
		name   string
		linger time.Duration
		sizes  []int
		waited time.Duration
	}{
		{"off", 0, []int{1, 3, 1, 2}, 0},
		{"bounded by the batch", time.Second, []int{1, 3, 3}, time.Millisecond},
		{"bounded by the configuration", 500 * time.Microsecond, []int{1, 3, 1, 2}, 500 * time.Microsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Config{Linger: c.linger}, func(r *rig) {
				first := r.texts("first")
				one, two, three := r.texts("1"), r.texts("2"), r.texts("3")
				<-first
				<-one
				<-two
				<-three
				begun := time.Now()
				one = r.texts("4")
				pass(time.Millisecond)
				two, three = r.texts("5"), r.texts("6")
				a := <-one
				if want := c.waited + r.engine.callTime; a.took != want {
					r.Errorf("the first took %v, want %v", a.took, want)
				}
				<-two
				<-three
				if got := r.engine.sizes(); !slices.Equal(got, c.sizes) {
					r.Errorf("calls of %v, want %v", got, c.sizes)
				}
				if time.Since(begun) > 3*r.engine.callTime {
					r.Errorf("took %v", time.Since(begun))
				}
			})
		})
	}
}

// A caller for whom nobody else comes waits no longer than the bound.
func TestLingerEnds(t *testing.T) {
	inBubble(t, Config{Linger: time.Second}, func(r *rig) {
		first := r.texts("first")
		one, two := r.texts("1"), r.texts("2")
		<-first
		<-one
		<-two
		if a := <-r.texts("3"); a.took != r.engine.callTime+r.engine.callTime/lingerShare {
			r.Errorf("took %v", a.took)
		}
		if a := <-r.texts("4"); a.took != r.engine.callTime {
			r.Errorf("after one alone: took %v", a.took)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	inBubble(t, Config{MaxHeldBytes: 10}, func(r *rig) {
		long := r.texts(strings.Repeat("x", 50)) // alone it may
		if a := <-r.texts("y"); apierr.ReasonOf(a.err) != apierr.Overloaded || apierr.From(a.err).RetryAfter == 0 {
			r.Errorf("one too many: %v", a.err)
		}
		<-long
		if a := <-r.texts("y"); a.err != nil {
			r.Error(a.err)
		}
	})
}

func TestConfiguredCalls(t *testing.T) {
	inBubble(t, Config{Calls: 3}, func(r *rig) {
		for _, a := range []<-chan answer{r.texts("a"), r.texts("b"), r.texts("c"), r.texts("d"), r.texts("e")} {
			if a := <-a; a.err != nil {
				r.Error(a.err)
			}
		}
		if got := r.engine.sizes(); !slices.Equal(got, []int{1, 1, 1, 2}) {
			r.Errorf("calls of %v", got)
		}
	})
}

func TestWhatTheEngineCannotDo(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		want := apierr.Invalid("dimensions", "not here")
		_, err := r.batcher.Embed(r.Context(), refusing{r.engine, want}, request("a"), 1)
		if err != want { //nolint:errorlint // the very same
			r.Errorf("got %v", err)
		}
	})
}

// refusing is an engine that knows without being asked what it cannot do.
type refusing struct {
	*fakeEngine
	err error
}

func (f refusing) EmbedLimits(engine.EmbedRequest) (engine.EmbedLimits, error) {
	return engine.EmbedLimits{}, f.err
}
