package quantize

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/apierr"
)

// Phase is what a quantisation is at.
type Phase int

// The phases, in their order.
const (
	MeasuringSource Phase = iota + 1
	Quantizing
	Measuring
	Storing
)

// Unknown is a percentage that is not known.
const Unknown = -1

// DefaultWindow is the tokens of a window when the order does not say.
const DefaultWindow = 512

// Source is the weights that others are made from; they are on this machine, and
// are what their hash says.
type Source struct {
	Path, Name, SHA256 string
}

// Order says what to make.
type Order struct {
	Source Source
	// Type is llama-quantize's name, in lower case.
	Type string
	// Text is what is measured on, UTF-8; empty: nothing is measured.
	Text []byte
	// Window is the tokens of one window of the text; 0 is DefaultWindow.
	Window int
	// AllowRequantize lets weights that are quantised already be the source.
	AllowRequantize bool
	// Threads is how many the programs get; 0 is the configured number.
	Threads int

	// Progress is told where it is; percent may be Unknown.
	Progress func(phase Phase, percent int)
	// Admit is asked once whether so many bytes of main memory may be taken.
	Admit func(bytes int64) error
	// Started is told the process id of each program that runs, and 0 when it has
	// ended; nil when nobody wants to know.
	Started func(pid int)
}

func (o Order) started(pid int) {
	if o.Started != nil {
		o.Started(pid)
	}
}

// Result is what was made.
type Result struct {
	Path, SHA256 string
	Size         int64
	SourceSize   int64
	// Perplexity and Source are nil when nothing was measured.
	Perplexity, Source *Perplexity
	TextSHA256         string
	Window             int
	Quantizer          string
}

// Check sees that the order can be carried out, as far as that can be told without
// its files, and fills in what it leaves open.
func (m *Maker) Check(ctx context.Context, o *Order) error {
	offer, err := m.Offer(ctx)
	if err != nil {
		return err
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	switch {
	case !slices.Contains(offer.Types, o.Type):
		return apierr.Invalid("type", "this worker makes no %s, only %s", o.Type, strings.Join(offer.Types, ", "))
	case o.Window < minWindow || o.Window > maxWindow:
		return apierr.Invalid("window", "must be from %d to %d tokens, or 0 for %d", minWindow, maxWindow, DefaultWindow)
	case len(o.Text) > 0 && !utf8.Valid(o.Text):
		return apierr.Invalid("text", "the text is not valid UTF-8")
	case len(o.Text) > 0 && strings.TrimSpace(string(o.Text)) == "":
		return apierr.Invalid("text", "the text is only white space")
	case len(o.Text) > 0 && !offer.Measures:
		return apierr.New(apierr.FailedPrecondition, "this worker cannot measure: llama-perplexity is not installed; leave out the text").WithField("text")
	}
	return nil
}

const minWindow, maxWindow = 64, 32768

// Make carries out an order that Check has seen, by who has called Begin. What was
// made or measured before is not made or measured again. When ctx ends nothing of
// what was unfinished is left.
func (m *Maker) Make(ctx context.Context, o Order) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.Timeout,
		apierr.New(apierr.DeadlineExceeded, "quantising took longer than the %v that this worker's quantize.timeout allows", m.cfg.Timeout))
	defer cancel()
	j := &job{Maker: m, Order: o}
	result, err := j.make(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return Result{}, cause
		}
		if _, is := errors.AsType[*apierr.Error](err); !is {
			err = apierr.Wrap(apierr.Internal, err, "what was made cannot be kept: %v", err)
		}
	}
	return result, err
}

// job is one order that is being carried out.
type job struct {
	*Maker
	Order
	weights    Weights
	sourceSize int64
	text       string // its SHA-256; empty when nothing is measured
	temp       string
}

func (j *job) make(ctx context.Context) (Result, error) {
	info, err := os.Stat(j.Source.Path)
	if err != nil {
		return Result{}, err
	}
	if j.weights, err = j.parts.Read(j.Source.Path); err != nil {
		return Result{}, err
	}
	if j.weights.Quantized && !j.AllowRequantize {
		return Result{}, errQuantized()
	}
	if trained := j.weights.TrainedContext; len(j.Text) > 0 && trained > 0 && j.Window > trained {
		return Result{}, apierr.Invalid("window", "the model was trained for %d tokens of context, and a window has %d", trained, j.Window)
	}
	j.text, j.sourceSize = textHash(j.Text), info.Size()
	result := Result{SourceSize: j.sourceSize, TextSHA256: j.text, Window: j.Window}
	if _, ok := j.answered(ctx, &result); ok {
		return result, nil
	}
	if err := j.admit(j.sourceSize); err != nil {
		return Result{}, err
	}
	if j.temp, err = os.MkdirTemp(j.path(dirTemp), "job-"); err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(j.temp) }() // what is left is removed at the next start
	err = j.fill(ctx, &result)
	return result, err
}

// fill measures and makes what is missing.
func (j *job) fill(ctx context.Context, result *Result) (err error) {
	if j.text != "" {
		if result.Source, err = j.measure(ctx, MeasuringSource, j.Source.Path, j.Source.SHA256); err != nil {
			return err
		}
	}
	if r, ok := j.find(ctx, j.Order); ok {
		j.fillMade(result, r)
		if j.text != "" {
			result.Perplexity, err = j.measure(ctx, Measuring, result.Path, r.SHA256)
		}
		return err
	}
	place, err := os.MkdirTemp(j.path(dirTemp), "made-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(place) }()
	r := made{File: madeName(j.Source.Name, j.Type), SourceSize: j.sourceSize, SourceQuantized: j.weights.Quantized}
	file := filepath.Join(place, r.File)
	if r.Quantizer, err = j.quantize(ctx, file); err != nil {
		return err
	}
	if _, err := j.parts.Read(file); err != nil {
		return apierr.Wrap(apierr.EngineFailed, err, "llama-quantize made a file that cannot be read")
	}
	if j.text != "" {
		// Its hash is not known yet: the measurement is kept with it.
		if result.Perplexity, err = j.perplexity(ctx, Measuring, file); err != nil {
			return err
		}
	}
	j.Progress(Storing, Unknown)
	if err := j.unchanged(ctx); err != nil {
		return err
	}
	if r.SHA256, r.Size, err = settle(ctx, file); err != nil {
		return err
	}
	if result.Perplexity != nil {
		if err := j.remember(measureKey(r.SHA256, j.text, j.Window), *result.Perplexity); err != nil {
			return err
		}
	}
	if err := j.keep(place, j.Order, r); err != nil {
		return err
	}
	j.fillMade(result, r)
	return nil
}
