package gpu

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Inventory keeps the last answer of a Source. It is safe for concurrent use.
type Inventory struct {
	source Source
	clock  clock.Clock
	log    *slog.Logger
	// maxECC is how many memory errors a GPU may have had to be used.
	maxECC int64

	asking sync.Mutex // one question at a time

	mu      sync.Mutex
	devices []Device
	at      time.Time // when devices was asked for; zero: never
	err     error     // of the last question
}

// NewInventory returns an inventory of source that was not asked yet.
func NewInventory(source Source, c clock.Clock, log *slog.Logger, maxECC int64) *Inventory {
	return &Inventory{source: source, clock: c, log: log, maxECC: maxECC}
}

// Refresh asks the source, unless its last answer is younger than age. When it
// does not answer, the devices stay as they were, and are not trusted: Problem
// says so for each of them.
func (i *Inventory) Refresh(ctx context.Context, age time.Duration) {
	i.asking.Lock()
	defer i.asking.Unlock()
	now := i.clock.Now()
	i.mu.Lock()
	fresh := !i.at.IsZero() && now.Sub(i.at) < age
	before := i.err
	i.mu.Unlock()
	if fresh {
		return
	}
	devices, err := i.source.Devices(ctx)
	if err != nil && ctx.Err() != nil {
		return // it was not the source that failed
	}
	if (err == nil) != (before == nil) {
		if err != nil {
			i.log.WarnContext(ctx, "the GPUs cannot be seen", slog.Any("error", err))
		} else {
			i.log.InfoContext(ctx, "the GPUs can be seen again", slog.Int("gpus", len(devices)))
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at, i.err = now, err
	if err == nil {
		i.devices = devices
	}
}

// Devices returns the last answer; read only.
func (i *Inventory) Devices() []Device {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.devices
}

// Err is why the last question was not answered, or nil.
func (i *Inventory) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// Problem says why nothing should be placed on the device; "" when it may be.
func (i *Inventory) Problem(d Device) string {
	switch err := i.Err(); {
	case err != nil:
		return "the driver does not answer: " + err.Error()
	case d.ECCErrors > i.maxECC:
		return fmt.Sprintf("%d memory errors could not be corrected, the limit is %d", d.ECCErrors, i.maxECC)
	}
	return ""
}
