package tokens

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

// letters counts letters, unless err says that it cannot.
type letters struct {
	mu         sync.Mutex
	err        error
	asked      int
	now, most  int
	takes      time.Duration
	said, told int
}

func (l *letters) CountTokens(ctx context.Context, _, text string) (n, limit int, err error) {
	l.mu.Lock()
	l.asked++
	l.now++
	l.most = max(l.most, l.now)
	err = l.err
	l.mu.Unlock()
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	l.now--
	l.mu.Unlock()
	return len(text), 512, err
}

func (l *letters) counter() *Counter {
	return New(Options{
		Tokeniser: l, Clock: clock.Real(),
		Counted:   func(_ context.Context, n int) { l.told += n },
		Estimated: func(context.Context, string, error) { l.said++ },
	})
}

func TestTextsAreCountedSomeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &letters{takes: time.Millisecond}
		c := l.counter()
		var texts []string
		for i := range 100 {
			texts = append(texts, fmt.Sprintf("%0*d", i+1, 0))
		}
		if limit, ok := c.Limit(t.Context(), "m", "sample"); limit != 512 || !ok {
			t.Errorf("limit %d, %v", limit, ok)
		}
		asked := l.asked
		if _, ok := c.Limit(t.Context(), "m", "sample"); !ok || l.asked != asked {
			t.Error("a limit that is known was asked for")
		}
		got, ok := c.Count(t.Context(), "m", texts)
		if !ok || got[0] != 1 || got[99] != 100 || l.most > atOnce || l.told != 101 {
			t.Errorf("%v, %v, %d at once, told of %d", got, ok, l.most, l.told)
		}
	})
}

func TestWhatCannotBeCountedIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &letters{err: apierr.New(apierr.Unimplemented, "no tokeniser")}
		c := l.counter()
		count := func() bool {
			_, ok := c.Count(t.Context(), "m", []string{"a"})
			return ok
		}
		for range 3 {
			if _, ok := c.Limit(t.Context(), "m", "a"); ok || count() {
				t.Error("it was counted")
			}
		}
		if l.asked != 1 || l.said != 1 {
			t.Errorf("asked %d times, said %d times", l.asked, l.said)
		}
		<-time.After(noneFor)
		if count() || l.asked != 2 || l.said != 1 {
			t.Errorf("asked %d times, said %d times", l.asked, l.said)
		}
		<-time.After(noneFor)
		l.err = nil
		if !count() {
			t.Error("it was not counted when it could be")
		}
		l.err = errors.New("away")
		if count() || l.said != 2 {
			t.Errorf("said %d times", l.said)
		}
		l.err = nil
		<-time.After(awayFor)
		if !count() {
			t.Error("it was not counted when it could be again")
		}
	})
}

// A caller who leaves tells nothing of the model.
func TestACallerWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &letters{takes: time.Second}
		c := l.counter()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, ok := c.Count(ctx, "m", []string{"a"}); ok || l.said != 0 {
			t.Error("it was counted, or found uncountable")
		}
		if _, ok := c.Count(t.Context(), "m", []string{"a"}); !ok {
			t.Error("it was not counted")
		}
	})
}
