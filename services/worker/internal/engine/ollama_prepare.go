package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// ollamaEngine is healthy once Ollama has the model and has read it.
type ollamaEngine struct {
	*client

	prepare *ollamaPreparation
}

// Health is that of the server until the model is there, and begins to prepare
// it.
func (e *ollamaEngine) Health(ctx context.Context) error {
	if err := e.client.Health(ctx); err != nil {
		return err
	}
	return e.prepare.state() //nolint:contextcheck // what it begins outlives the check
}

// Close gives a preparation up that is not done.
func (e *ollamaEngine) Close() {
	e.prepare.stop()
	e.client.Close()
}

// prepareAgain is the pause after a preparation that failed: most failures last,
// and a library must not be asked all the time.
const prepareAgain = 15 * time.Second

// ollamaPreparation has Ollama get the model, in the background: it may take
// longer than a check of its health may.
type ollamaPreparation struct {
	c     *client
	root  string
	spec  *commonv1.ModelSpec
	model ollamaModel
	pull  bool
	warm  []jsonbody.Member // of the request that reads the model in
	clock clock.Clock

	mu     sync.Mutex
	cancel context.CancelFunc
	done   bool
	closed bool
	err    error
	next   time.Time // of another try
}

func newOllamaPreparation(c *client, root string, m Model, model ollamaModel, cfg OllamaConfig) *ollamaPreparation {
	p := &ollamaPreparation{c: c, root: root, spec: m.Spec, model: model, pull: cfg.Pull, clock: cfg.Clock}
	if cfg.URL == "" {
		// An Ollama that others use decides itself how long it keeps a model.
		p.warm = append(p.warm, jsonbody.Member{Name: "keep_alive", Value: []byte("-1")})
	}
	return p
}

var errPreparing = errors.New("the model is being prepared")

// state is nil once the model is there; it begins a preparation when none runs
// and one is due.
func (p *ollamaPreparation) state() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.done:
		return nil
	case p.closed || p.cancel != nil:
		return errPreparing
	case p.err != nil && p.clock.Now().Before(p.next):
		return p.err
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go p.run(ctx)
	return errPreparing
}

func (p *ollamaPreparation) run(ctx context.Context) {
	err := p.have(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
	p.cancel = nil
	p.err, p.done = err, err == nil
	p.next = p.clock.Now().Add(prepareAgain)
}

func (p *ollamaPreparation) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.cancel != nil {
		p.cancel()
	}
}

// have makes sure of the model and reads it in.
func (p *ollamaPreparation) have(ctx context.Context) error {
	there, err := p.knows(ctx, p.model.serve)
	if err != nil {
		return err
	}
	if !there {
		if p.model.from != "" {
			err = p.fetch(ctx)
		} else {
			err = p.give(ctx)
		}
		if err == nil && p.model.made() {
			err = p.create(ctx)
		}
	}
	if err != nil {
		return err
	}
	return p.load(ctx)
}

// knows asks POST /api/show, which answers 404 for what Ollama does not have.
func (p *ollamaPreparation) knows(ctx context.Context, name string) (bool, error) {
	body, err := jsonbody.Set([]byte("{}"), nil, jsonbody.Member{Name: "model", Value: quote(name)})
	if err != nil {
		return false, err
	}
	status, err := p.exchange(ctx, http.MethodPost, "/api/show", bytes.NewReader(body), int64(len(body)))
	return status == http.StatusOK, err
}

// fetch has the library's model pulled unless it is there.
func (p *ollamaPreparation) fetch(ctx context.Context) error {
	there, err := p.knows(ctx, p.model.from)
	if err != nil || there {
		return err
	}
	if !p.pull {
		return fmt.Errorf("ollama does not have the model %q, and this worker pulls none (engines.ollama.pull)", p.model.from)
	}
	return p.call(ctx, "/api/pull", jsonbody.Member{Name: "model", Value: quote(p.model.from)})
}

// give uploads the files that Ollama does not have yet, by their digests.
func (p *ollamaPreparation) give(ctx context.Context) error {
	for _, f := range p.model.files {
		path := "/api/blobs/sha256:" + f.SHA256
		status, err := p.exchange(ctx, http.MethodHead, path, http.NoBody, 0)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			continue
		}
		if err := p.upload(ctx, path, f); err != nil {
			return fmt.Errorf("give ollama %s: %w", filepath.Base(f.Path), err)
		}
	}
	return nil
}

func (p *ollamaPreparation) upload(ctx context.Context, path string, f File) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	status, err := p.exchange(ctx, http.MethodPost, path, file, info.Size())
	if err == nil && status != http.StatusCreated && status != http.StatusOK {
		err = fmt.Errorf("ollama answered with status %d", status)
	}
	return err
}

// create makes the model that is served.
func (p *ollamaPreparation) create(ctx context.Context) error {
	set := []jsonbody.Member{{Name: "model", Value: quote(p.model.serve)}}
	if p.model.from != "" {
		set = append(set, jsonbody.Member{Name: "from", Value: quote(p.model.from)})
	} else {
		names := make([]jsonbody.Member, 0, len(p.model.files))
		for _, f := range p.model.files {
			names = append(names, jsonbody.Member{Name: filepath.Base(f.Path), Value: quote("sha256:" + f.SHA256)})
		}
		files, err := jsonbody.Set([]byte("{}"), nil, names...)
		if err != nil {
			return err
		}
		set = append(set, jsonbody.Member{Name: "files", Value: files})
	}
	if p.model.tokens > 0 {
		set = append(set, jsonbody.Member{Name: "parameters", Value: fmt.Appendf(nil, `{"num_ctx":%d}`, p.model.tokens)})
	}
	return p.call(ctx, "/api/create", set...)
}

// load reads the model in with a request that asks nothing.
func (p *ollamaPreparation) load(ctx context.Context) error {
	set := append([]jsonbody.Member{{Name: "model", Value: quote(p.model.serve)}}, p.warm...)
	if p.spec.GetTask() == commonv1.Task_TASK_EMBEDDING {
		return p.call(ctx, "/api/embed", append(set, jsonbody.Member{Name: "input", Value: quote("warm")})...)
	}
	return p.call(ctx, "/api/generate", set...)
}

// call makes one call and waits for its end.
func (p *ollamaPreparation) call(ctx context.Context, path string, members ...jsonbody.Member) error {
	var answer struct {
		Error string `json:"error"`
	}
	members = append(members, jsonbody.Member{Name: "stream", Value: []byte("false")})
	if err := p.c.ask(ctx, p.root+path, &answer, members...); err != nil {
		return fmt.Errorf("ollama, %s: %w", path, err)
	}
	if answer.Error != "" {
		return apierr.New(apierr.EngineFailed, "ollama, %s: %s", path, clean(answer.Error))
	}
	return nil
}

// exchange makes one call whose status alone matters.
func (p *ollamaPreparation) exchange(ctx context.Context, method, path string, body io.Reader, size int64) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.root+path, body)
	if err != nil {
		return 0, err
	}
	req.ContentLength = size
	resp, err := p.c.http.Do(req)
	if err != nil {
		return 0, transportError(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBytes)
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNotFound, http.StatusBadRequest:
		return resp.StatusCode, nil
	}
	return 0, fmt.Errorf("ollama, %s: status %d", path, resp.StatusCode)
}
