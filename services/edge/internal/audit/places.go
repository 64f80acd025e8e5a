package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// place is where checkpoints are kept besides the store. It takes what it is given
// and delivers it in order, again and again while the place is away.
type place struct {
	name    string
	deliver func(ctx context.Context, text string) error
	clock   clock.Clock
	log     *slog.Logger
	metrics *metrics.Metrics

	mu   sync.Mutex
	held []string
	wake chan struct{}
}

const (
	// maxHeld is how many checkpoints wait for a place that is away: older ones are
	// left out then, since a later one proves the same records.
	maxHeld        = 1024
	deliverTimeout = 10 * time.Second
	maxPlaceRetry  = time.Minute
)

// CheckpointsFile is the name of the file in Config.Checkpoints.Directory.
const CheckpointsFile = "checkpoints.jsonl"

// openPlaces returns the places that cfg names.
func openPlaces(cfg CheckpointConfig, c clock.Clock, log *slog.Logger, m *metrics.Metrics) ([]*place, error) {
	var out []*place
	add := func(name string, deliver func(context.Context, string) error) {
		out = append(out, &place{name: name, deliver: deliver, clock: c, log: log, metrics: m, wake: make(chan struct{}, 1)})
	}
	if cfg.Directory != "" {
		path := filepath.Join(cfg.Directory, CheckpointsFile)
		if err := appendCheckpoint(path, ""); err != nil {
			return nil, fmt.Errorf("audit.checkpoints.directory: %w", err)
		}
		add("directory", func(_ context.Context, text string) error { return appendCheckpoint(path, text) })
	}
	if cfg.Witness != "" {
		client := &http.Client{Transport: plainhttp.Transport(nil), Timeout: deliverTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		add("witness", func(ctx context.Context, text string) error { return post(ctx, client, cfg.Witness, text) })
	}
	if cfg.Log {
		add("log", func(ctx context.Context, text string) error {
			log.InfoContext(ctx, "audit checkpoint", slog.String(metrics.KeyCheckpoint, text))
			return nil
		})
	}
	return out, nil
}

// appendCheckpoint adds a line to the file, and forces it to the disk.
func appendCheckpoint(path, text string) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var raw []byte
	if err = endLine(f); err == nil && text != "" {
		raw, err = json.Marshal(auditproof.Line{Checkpoint: text})
		if err == nil {
			_, err = f.Write(append(raw, '\n'))
		}
		if err == nil {
			err = f.Sync()
		}
	}
	return errors.Join(err, f.Close())
}

func post(ctx context.Context, client *http.Client, url config.SecretURL, text string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url.Reveal(), strings.NewReader(text))
	if err != nil {
		return errors.New("the witness's URL is wrong") // the URL may hold a secret
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		return errors.New("the witness does not answer")
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<16) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the witness answers %d", resp.StatusCode)
	}
	return nil
}

func (p *place) give(text string) {
	p.mu.Lock()
	if p.held = append(p.held, text); len(p.held) > maxHeld {
		p.held = append([]string(nil), p.held[len(p.held)/2:]...)
	}
	p.mu.Unlock()
	signal(p.wake)
}

func (p *place) next() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) == 0 {
		return "", false
	}
	return p.held[0], true
}

// taken drops what was delivered, unless it was left out meanwhile.
func (p *place) taken(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) > 0 && p.held[0] == text {
		p.held = p.held[1:]
	}
}

func (p *place) component() lifecycle.Component {
	return lifecycle.Component{
		Name: "audit checkpoints: " + p.name,
		Run: func(ctx context.Context) error {
			for {
				select {
				case <-p.wake:
				case <-ctx.Done():
					return nil
				}
				p.empty(ctx)
			}
		},
		// The last one, of the end, has one try.
		Stop: func(ctx context.Context) error {
			for text, ok := p.next(); ok; text, ok = p.next() {
				if err := p.deliver(ctx, text); err != nil {
					p.log.ErrorContext(ctx, "the last audit checkpoints are in the store only", slog.String(metrics.KeyPlace, p.name), telemetry.Err(err))
					return nil
				}
				p.taken(text)
			}
			return nil
		},
	}
}

// empty delivers what is held.
func (p *place) empty(ctx context.Context) {
	retry := minRetry
	for text, ok := p.next(); ok && ctx.Err() == nil; text, ok = p.next() {
		err := p.deliver(ctx, text)
		if err == nil {
			p.taken(text)
			retry = minRetry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		p.metrics.AuditPlaceFailure(ctx, p.name)
		p.log.ErrorContext(ctx, "an audit checkpoint cannot be kept elsewhere; it is tried again", slog.String(metrics.KeyPlace, p.name), telemetry.Err(err))
		_ = clock.Sleep(ctx, p.clock, retry) // ended early: the loop sees it too
		retry = min(2*retry, maxPlaceRetry)
	}
}
