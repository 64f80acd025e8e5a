package watched_test

import (
	"testing"

	"github.com/poterne/poterne/services/inference/internal/watched"
)

func TestWatchWakesEveryReader(t *testing.T) {
	t.Parallel()
	v := watched.New(1)
	got, first := v.Watch()
	_, second := v.Watch()
	if got != 1 || v.Get() != 1 {
		t.Fatalf("the value is %d; want 1", got)
	}
	select {
	case <-first:
		t.Fatal("woken before the value was replaced")
	default:
	}
	v.Set(2)
	<-first
	<-second
	if got, next := v.Watch(); got != 2 || next == first {
		t.Errorf("after Set the value is %d", got)
	}
}
