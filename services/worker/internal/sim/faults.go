package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/poterne/poterne/pkg/config"
)

// faultBox holds the faults in force and decides which request they hit.
type faultBox struct {
	mu     sync.Mutex
	faults Faults
	seen   int64
	rnd    *rand.Rand
}

func newFaultBox(f Faults, seed uint64) *faultBox {
	return &faultBox{faults: f, rnd: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // must be repeatable, guards nothing
}

func (b *faultBox) get() Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults
}

func (b *faultBox) set(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults, b.seen = f, 0
}

// fault is what happens to one request.
type fault struct {
	crash, hang     bool
	status          int // 0: none
	disconnectAfter int
}

func (b *faultBox) next() fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen++
	f := b.faults
	out := fault{
		crash: f.CrashAfter > 0 && b.seen >= f.CrashAfter, hang: f.Hang, disconnectAfter: f.DisconnectAfter,
	}
	if f.ErrorRate > 0 && b.rnd.Float64() < f.ErrorRate {
		out.status = f.ErrorStatus
		if out.status == 0 {
			out.status = http.StatusInternalServerError
		}
	}
	return out
}

const maxFaultsBytes = 4 << 10

// serveFaults shows the faults in force and, on POST, replaces them.
func (s *Server) serveFaults(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		f, err := decodeFaults(http.MaxBytesReader(w, r.Body, maxFaultsBytes))
		if err != nil {
			s.badRequest(w, err.Error())
			return
		}
		s.faults.set(f)
	}
	writeJSON(w, http.StatusOK, s.faults.get())
}

func decodeFaults(src io.Reader) (Faults, error) {
	data, err := io.ReadAll(src)
	if err != nil {
		return Faults{}, err
	}
	var f Faults
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return Faults{}, err
	}
	var p config.Problems
	f.validate(&p)
	return f, p.Err()
}

// hang waits until the client has gone.
func hang(ctx context.Context) { <-ctx.Done() }
