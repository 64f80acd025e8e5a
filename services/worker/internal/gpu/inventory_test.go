package gpu

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

func TestInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := NewScripted(H100(0), H100(1))
		i := NewInventory(script, clock.Real(), slog.New(slog.DiscardHandler), 0)
		if len(i.Devices()) != 0 {
			t.Error("it knows GPUs before it asked")
		}
		i.Refresh(t.Context(), time.Second)
		i.Refresh(t.Context(), time.Second)
		if len(i.Devices()) != 2 || script.Asked() != 1 {
			t.Errorf("%d devices after %d questions", len(i.Devices()), script.Asked())
		}
		script.Change(1, func(d *Device) { d.ECCErrors = 1 })
		<-time.After(2 * time.Second) // the bubble's time
		i.Refresh(t.Context(), time.Second)
		d := i.Devices()
		if i.Problem(d[0]) != "" || !strings.Contains(i.Problem(d[1]), "1 memory errors") {
			t.Errorf("problems %q and %q", i.Problem(d[0]), i.Problem(d[1]))
		}
		script.Fail(errors.New("GPU is lost"))
		i.Refresh(t.Context(), 0)
		if len(i.Devices()) != 2 || !strings.Contains(i.Problem(d[0]), "GPU is lost") {
			t.Errorf("after a failure: %v, %q", i.Devices(), i.Problem(d[0]))
		}
		script.Fail(nil)
		i.Refresh(t.Context(), 0)
		if i.Problem(d[0]) != "" {
			t.Errorf("afterwards: %q", i.Problem(d[0]))
		}
	})
}
