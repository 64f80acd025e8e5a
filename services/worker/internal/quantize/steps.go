package quantize

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
)

// quantize makes the weights at file, and returns who made them.
func (j *job) quantize(ctx context.Context, file string) (string, error) {
	var args []string
	if j.AllowRequantize {
		args = append(args, "--allow-requantize")
	}
	args = append(args, j.Source.Path, file, j.Type, j.threads())
	who := "llama-quantize"
	j.Progress(Quantizing, 0)
	failure, err := j.run(ctx, j.parts.Quantize, "llama-quantize", args, j.Order, func(piece string) {
		if done, total, ok := parseStep(piece); ok {
			j.Progress(Quantizing, done*100/total)
		} else if build, ok := parseBuild(piece); ok {
			who = "llama-quantize " + build
		}
	})
	if err != nil {
		return "", err
	}
	if failure != nil {
		return "", j.explain(failure)
	}
	if _, err := os.Stat(file); err != nil {
		return "", apierr.Wrap(apierr.EngineFailed, err, "llama-quantize ended without an error, and made no file")
	}
	return who, nil
}

// measured returns what weights were measured to be before, on the order's text.
func (j *job) measured(weights string) (*Perplexity, bool) {
	var p Perplexity
	if !readRecord(j.path(dirMeasured, measureKey(weights, j.text, j.Window)), &p) || p.Tokens <= 0 || p.Value < 1 {
		return nil, false
	}
	return &p, true
}

// measure measures weights unless that was done before, and keeps the figure.
func (j *job) measure(ctx context.Context, phase Phase, path, weights string) (*Perplexity, error) {
	if p, ok := j.measured(weights); ok {
		return p, nil
	}
	p, err := j.perplexity(ctx, phase, path)
	if err != nil {
		return nil, err
	}
	if phase == MeasuringSource {
		if err := j.unchanged(ctx); err != nil {
			return nil, err
		}
	}
	return p, j.remember(measureKey(weights, j.text, j.Window), *p)
}

// maxBatch is the tokens that are computed in one call at most.
const maxBatch = 2048

// perplexity has llama-perplexity measure the weights at path.
func (j *job) perplexity(ctx context.Context, phase Phase, path string) (*Perplexity, error) {
	text := filepath.Join(j.temp, "text")
	if err := os.WriteFile(text, j.Text, 0o600); err != nil {
		return nil, err
	}
	window := strconv.Itoa(j.Window)
	args := []string{
		"-m", path, "-f", text, "-c", window, "-t", j.threads(),
		// One window at a time: several would take as many times the memory.
		"-b", strconv.Itoa(min(j.Window, maxBatch)), "-ngl", "0",
	}
	var chunks, needed, got int
	var result *Perplexity
	j.Progress(phase, Unknown)
	failure, err := j.run(ctx, j.parts.Perplexity, "llama-perplexity", args, j.Order, func(piece string) {
		if n, ok := parseChunks(piece); ok {
			chunks = n
		} else if n, ok := parseChunk(piece); ok && chunks > 0 && n <= chunks {
			j.Progress(phase, n*100/chunks)
		} else if n, ok := parseNeeded(piece); ok {
			needed = n
		} else if n, ok := parseGot(piece); ok {
			got = n
		} else if value, deviation, ok := parseFinal(piece); ok {
			result = &Perplexity{Value: value, Error: deviation}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case needed > 0: // it ends without an error then
		return nil, apierr.Invalid("text", "the text has %d tokens, and two windows of %d need at least %d: give a longer text or a smaller window", got, j.Window, needed)
	case failure != nil:
		return nil, j.explain(failure)
	case result == nil || chunks == 0:
		return nil, apierr.New(apierr.EngineFailed, "llama-perplexity ended without a perplexity")
	}
	result.Tokens = int64(chunks) * scored(j.Window)
	return result, nil
}

// unchanged sees that the source is what its hash says now that it was read: what
// is kept is found by that hash, whoever asks for it later.
func (j *job) unchanged(ctx context.Context) error {
	err := j.parts.Verify(ctx, j.Source.Path, j.Source.SHA256)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return apierr.Wrap(apierr.FailedPrecondition, err, "the weights were changed while they were worked on, and nothing was kept: put them back and try again")
}

// scored is how many tokens of a window are predicted: of its second half all but
// the first, which has been seen by then.
func scored(window int) int64 { return int64(window - window/2 - 1) }

// settle has a file be on the disk, and returns its hash and size.
func settle(ctx context.Context, file string) (sum string, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return "", 0, err
	}
	h := sha256.New()
	buffer := make([]byte, 1<<20)
	for ctx.Err() == nil {
		n, err := f.Read(buffer)
		h.Write(buffer[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), size, nil
		}
		if err != nil {
			return "", 0, err
		}
	}
	return "", 0, context.Cause(ctx)
}

// threads is how many a program gets.
func (j *job) threads() string {
	n := j.Threads
	if n == 0 {
		n = j.cfg.Threads
	}
	if n == 0 {
		n = max(runtime.NumCPU()/2, 1)
	}
	return strconv.Itoa(n)
}
