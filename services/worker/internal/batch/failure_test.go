package batch

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// together asks for all of them in one batch, behind one that is alone.
func (r *rig) together(requests ...engine.EmbedRequest) []answer {
	first := r.texts("first")
	var waiting []<-chan answer
	for _, of := range requests {
		waiting = append(waiting, r.ask(r.Context(), of))
	}
	<-first
	var out []answer
	for _, a := range waiting {
		out = append(out, <-a)
	}
	return out
}

func TestABadInputFailsAlone(t *testing.T) {
	for at := range 7 {
		inBubble(t, Config{}, func(r *rig) {
			var requests []engine.EmbedRequest
			for i := range 7 {
				requests = append(requests, request(fmt.Sprintf("text %d", i)))
			}
			requests[at] = request("good", "bad one")
			for i, a := range r.together(requests...) {
				if i != at {
					r.check(requests[i], a)
					continue
				}
				e := apierr.From(a.err)
				if e == nil || e.Reason != apierr.InvalidArgument || e.Field != "input[1]" || e.Message != "bad one is refused" {
					r.Errorf("at %d: %v", at, a.err)
				}
			}
			if n := len(r.engine.sizes()); n > 2+6 { // the first, the whole, and two for each of three halvings
				r.Errorf("at %d: %d calls", at, n)
			}
			if r.sees.splits[Refused] == 0 || r.sees.splits[Failed] != 0 {
				r.Errorf("splits %v", r.sees.splits)
			}
		})
	}
}

func TestABadInputOfOneCallerIsNamed(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		a := <-r.texts("a", "b", "c", "d", "e", "bad f", "g")
		if e := apierr.From(a.err); e == nil || e.Field != "input[5]" {
			r.Errorf("got %v", a.err)
		}
		a = <-r.texts("bad")
		if e := apierr.From(a.err); e == nil || e.Field != "" || e.Reason != apierr.InvalidArgument {
			r.Errorf("alone, as the engine says it: %v", a.err)
		}
	})
}

// What the engine finds wrong with the parameters is no input's fault.
func TestBadParameters(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		r.engine.err = apierr.Invalid("user", "no such parameter")
		for _, a := range r.together(request("1"), request("2"), request("3")) {
			if e := apierr.From(a.err); e == nil || e.Field != "user" {
				r.Errorf("got %v", a.err)
			}
		}
		if got := r.engine.sizes(); !slices.Equal(got, []int{1, 3}) {
			r.Errorf("the engine names it: calls of %v", got)
		}
	})
	inBubble(t, Config{}, func(r *rig) {
		r.engine.err = apierr.New(apierr.InvalidArgument, "something is wrong")
		for _, a := range append(r.together(request("1"), request("2"), request("3")), <-r.texts("1", "2", "3", "4", "5", "6", "7", "8")) {
			if e := apierr.From(a.err); e == nil || e.Field != "" || e.Reason != apierr.InvalidArgument {
				r.Errorf("got %v", a.err)
			}
		}
		if n := len(r.engine.sizes()); n > 1+5+8 {
			r.Errorf("the engine does not name it: %d calls", n)
		}
	})
	// A length is an input's, and needs no proof.
	inBubble(t, Config{}, func(r *rig) {
		r.engine.err = apierr.New(apierr.ContextLengthExceeded, "too long")
		if a := <-r.texts("1", "2"); apierr.From(a.err).Field != "input[0]" {
			r.Errorf("got %v", a.err)
		}
	})
}

// After a failure each caller has one try without the others.
func TestAFailureIsTriedAloneOnce(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		requests := []engine.EmbedRequest{request("a", "b"), request("boom"), request("c"), request("once", "d")}
		for i, a := range r.together(requests...) {
			if i == 1 {
				if apierr.ReasonOf(a.err) != apierr.EngineFailed {
					r.Errorf("boom: %v", a.err)
				}
				continue
			}
			if i == 3 && a.err != nil { // failed with boom already, then once by itself
				continue
			}
			r.check(requests[i], a)
		}
		if got := r.engine.sizes(); !slices.Equal(got, []int{1, 6, 2, 1, 1, 2}) || r.sees.splits[Failed] != 1 {
			r.Errorf("calls of %v, splits %v", got, r.sees.splits)
		}
	})
	inBubble(t, Config{}, func(r *rig) {
		if a := <-r.texts("once", "x"); apierr.ReasonOf(a.err) != apierr.EngineFailed {
			r.Errorf("one that was alone is not tried again: %v", a.err)
		}
	})
	inBubble(t, Config{}, func(r *rig) {
		r.engine.err = apierr.New(apierr.Overloaded, "too much").WithRetryAfter(time.Second)
		for _, a := range r.together(request("1"), request("2")) {
			if e := apierr.From(a.err); e.Reason != apierr.Overloaded || e.RetryAfter != time.Second {
				r.Errorf("got %v", a.err)
			}
		}
		if got := r.engine.sizes(); !slices.Equal(got, []int{1, 2}) {
			r.Errorf("an engine with too much to do got calls of %v", got)
		}
	})
}

// Parts of a refused batch and what arrives meanwhile take turns.
func TestPartsDoNotHoldOthersUp(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		bad := r.texts("bad 0", "bad 1", "bad 2", "bad 3", "bad 4", "bad 5", "bad 6", "bad 7")
		query := r.texts("query")
		a := <-query
		r.check(request("query"), a)
		if a.took > 3*r.engine.callTime {
			r.Errorf("took %v", a.took)
		}
		if a := <-bad; a.err == nil {
			r.Error("bad inputs were taken")
		}
	})
}

// And what arrives does not hold the parts up.
func TestOthersDoNotHoldPartsUp(t *testing.T) {
	inBubble(t, Config{}, func(r *rig) {
		first := r.texts("first")
		bad, good := r.texts("bad"), r.texts("good")
		<-first
		others := make(chan (<-chan answer), 100)
		go func() { // one more at every moment that the engine is busy
			defer close(others)
			for range 50 {
				of := make(chan answer, 1)
				go func() {
					_, err := r.batcher.Embed(r.Context(), r.engine, request("other"), 1)
					of <- answer{err: err}
				}()
				others <- of
				pass(r.engine.callTime / 2)
			}
		}()
		a, b := <-bad, <-good
		r.check(request("good"), b)
		if a.err == nil || max(a.took, b.took) > 7*r.engine.callTime {
			r.Errorf("took %v and %v", a.took, b.took)
		}
		for of := range others {
			if a := <-of; a.err != nil {
				r.Error(a.err)
			}
		}
	})
}

// What a batch failed on may belong to one that has left while it ran: the others
// are not held to be at fault.
func TestTheOneAtFaultHasLeft(t *testing.T) {
	for _, text := range []string{"bad", "boom"} {
		inBubble(t, Config{}, func(r *rig) {
			first := r.texts("first")
			ctx, leave := context.WithCancel(r.Context())
			r.ask(ctx, request(text))
			good := r.texts("good")
			<-first
			pass(time.Millisecond) // both run
			leave()
			r.check(request("good"), <-good)
			if got := r.engine.sizes(); !slices.Equal(got, []int{1, 2, 1}) {
				r.Errorf("%s: calls of %v", text, got)
			}
		})
	}
}
