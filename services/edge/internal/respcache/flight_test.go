package respcache_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// took is what a reader had of a flight: each piece with how long after the beginning
// it came.
type took struct {
	pieces []string
	err    error
}

// reads has a reader take everything, in the background.
func reads(ctx context.Context, r *respcache.Reader, begin time.Time) <-chan took {
	done := make(chan took, 1)
	go func() {
		var got took
		for {
			p, err := r.Next(ctx)
			if err != nil || p.Last {
				got.err = err
				done <- got
				return
			}
			got.pieces = append(got.pieces, string(p.Chunk)+" "+time.Since(begin).String())
		}
	}()
	return done
}

var errEngine = errors.New("the engine failed")

// speak is an engine that says a piece a second, and after the last one fails or ends.
func speak(pieces []string, end error) func(context.Context, *respcache.Flight) error {
	return func(ctx context.Context, f *respcache.Flight) error {
		f.Served(&inferencev1.ServedBy{Model: "small"})
		for i, piece := range pieces {
			if i > 0 {
				if err := clock.Sleep(ctx, clock.Real(), time.Second); err != nil {
					return err
				}
			}
			if err := f.Chunk(ctx, []byte(piece), nil); err != nil {
				return err
			}
		}
		f.Used(&commonv1.TokenUsage{CompletionTokens: int32(len(pieces))})
		return end
	}
}

// Pieces that come late, after somebody joined and whoever began has left, come to those
// who wait as they are made, and are kept.
func TestPiecesThatComeLate(t *testing.T) {
	for name, c := range map[string]struct{ end error }{"whole": {nil}, "failed": {errEngine}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				flights, a, begin := cache(t, clock.Real(), nil, nil), new(respcache.Ask), time.Now()
				leader := flights.Join(a, true, "")
				if !leader.Leads {
					t.Fatal("nobody leads")
				}
				kept := make(chan *respcache.Entry, 1)
				flights.Start(t.Context(), leader, speak([]string{"a", "b", "c"}, c.end), func(e *respcache.Entry) { kept <- e })
				ctx, leave := context.WithCancelCause(t.Context())
				led := reads(ctx, leader, begin)
				<-time.After(500 * time.Millisecond)
				follower := flights.Join(a, true, "")
				if follower.Leads {
					t.Fatal("it began anew")
				}
				followed := reads(t.Context(), follower, begin)
				<-time.After(time.Second)
				gone := errors.New("the caller left")
				leave(gone)
				if got := <-led; !slices.Equal(got.pieces, []string{"a 0s", "b 1s"}) || !errors.Is(got.err, gone) {
					t.Errorf("who began had %q, %v", got.pieces, got.err)
				}
				leader.Leave()
				if leader.Stopped() != nil {
					t.Error("the work ends while somebody waits")
				}
				// Who joins now has what was made so far at once.
				last := reads(t.Context(), flights.Join(a, true, ""), begin)
				if got, want := <-followed, []string{"a 500ms", "b 1s", "c 2s"}; !slices.Equal(got.pieces, want) || !errors.Is(got.err, c.end) {
					t.Errorf("who joined had %q, %v", got.pieces, got.err)
				}
				if got, want := <-last, []string{"a 1.5s", "b 1.5s", "c 2s"}; !slices.Equal(got.pieces, want) || !errors.Is(got.err, c.end) {
					t.Errorf("who joined last had %q, %v", got.pieces, got.err)
				}
				synctest.Wait()
				select {
				case e := <-kept:
					if c.end != nil || len(e.Chunks) != 3 || string(e.Chunks[2]) != "c" || e.Usage.GetCompletionTokens() != 3 {
						t.Errorf("kept is %+v", e)
					}
				default:
					if c.end == nil {
						t.Error("it was not kept")
					}
				}
				if again := flights.Join(a, true, ""); !again.Leads {
					t.Error("what is over was joined")
				} else {
					again.Abandon()
				}
			})
		})
	}
}

// When the last one leaves before the next piece, the work ends at once, nothing is
// kept, and who asks then begins anew.
func TestTheLastOneLeavesBeforeALatePiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flights, a, begin := cache(t, clock.Real(), nil, nil), new(respcache.Ask), time.Now()
		leader := flights.Join(a, true, "")
		flights.Start(t.Context(), leader, speak([]string{"a", "b"}, nil), func(*respcache.Entry) { t.Error("half an answer was kept") })
		follower := flights.Join(a, true, "")
		<-time.After(100 * time.Millisecond)
		leader.Leave()
		follower.Leave()
		ended := follower.Stopped()
		if ended == nil {
			t.Fatal("somebody waits")
		}
		if <-ended; time.Since(begin) != 100*time.Millisecond {
			t.Errorf("the work ended after %v", time.Since(begin))
		}
		next := flights.Join(a, true, "")
		if !next.Leads {
			t.Fatal("it joined what nobody waited for")
		}
		next.Abandon()
	})
}

// A late piece that makes an answer too large to be kept still comes to those who wait,
// and who asks after it, and cannot have the beginning, begins anew.
func TestALatePieceThatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flights := cache(t, clock.Real(), nil, func(c *respcache.Config) { c.MaxEntryBytes = 1024 })
		a, begin, large := new(respcache.Ask), time.Now(), strings.Repeat("x", 2000)
		leader := flights.Join(a, true, "")
		flights.Start(t.Context(), leader, speak([]string{"a", large, "c"}, nil), func(*respcache.Entry) { t.Error("what is too large was kept") })
		led, followed := reads(t.Context(), leader, begin), reads(t.Context(), flights.Join(a, true, ""), begin)
		<-time.After(1500 * time.Millisecond)
		next := flights.Join(a, true, "")
		if !next.Leads {
			t.Error("it joined what it cannot have whole")
		}
		next.Leave()
		for who, got := range map[string]took{"who began": <-led, "who joined": <-followed} {
			if want := []string{"a 0s", large + " 1s", "c 2s"}; !slices.Equal(got.pieces, want) || got.err != nil {
				t.Errorf("%s had %d pieces, %v", who, len(got.pieces), got.err)
			}
		}
	})
}
