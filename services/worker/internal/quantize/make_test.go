package quantize

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/worker/internal/quantize/quantizetest"
)

func TestMakesAndMeasures(t *testing.T) {
	r := newRig(t, nil)
	got := r.mustMake(r.order)
	calls := r.tools.Calls()
	if len(calls) != 3 || !strings.HasPrefix(calls[0], "llama-perplexity -m "+r.order.Source.Path+" -f ") ||
		!strings.HasSuffix(calls[0], " -c 512 -t 3 -b 512 -ngl 0") ||
		!strings.HasPrefix(calls[1], "llama-quantize "+r.order.Source.Path+" ") || !strings.HasSuffix(calls[1], " q4_k_m 3") ||
		!strings.HasPrefix(calls[2], "llama-perplexity -m ") {
		t.Errorf("calls %q", calls)
	}
	if want := []Phase{MeasuringSource, Quantizing, Measuring, Storing}; !slices.Equal(r.phases, want) {
		t.Errorf("phases %v", r.phases)
	}
	if got.Source == nil || got.Perplexity == nil || *got.Source != (Perplexity{10.25, 0.5, 4 * 255}) || *got.Perplexity != (Perplexity{12.5, 0.625, 4 * 255}) {
		t.Errorf("perplexity %v of %v", got.Perplexity, got.Source)
	}
	data, err := os.ReadFile(got.Path)
	if err != nil || hashOf(data) != got.SHA256 || int64(len(data)) != got.Size || filepath.Base(got.Path) != "tiny-f16.q4_k_m.gguf" {
		t.Errorf("made %+v: %v", got, err)
	}
	if got.Quantizer != "llama-quantize 4711 (abc123)" || got.Window != 512 || got.TextSHA256 != hashOf(r.order.Text) || got.SourceSize == 0 {
		t.Errorf("got %+v", got)
	}
	if len(r.asked) != 1 || r.asked[0] < 1<<30 {
		t.Errorf("asked for memory: %v", r.asked)
	}
	r.nothingLeft("after success")
}

func TestNothingIsDoneTwice(t *testing.T) {
	r := newRig(t, nil)
	first := r.mustMake(r.order)
	r.ran()
	if again := r.mustMake(r.order); again.SHA256 != first.SHA256 || again.Path != first.Path || *again.Perplexity != *first.Perplexity || *again.Source != *first.Source {
		t.Errorf("got %+v, want %+v", again, first)
	}
	r.wantRan("again")
	other := r.order
	other.Text = []byte("another text")
	r.mustMake(other)
	r.wantRan("another text", "llama-perplexity", "llama-perplexity")
	other.Type = "q8_0"
	r.mustMake(other)
	r.wantRan("another type", "llama-quantize", "llama-perplexity")
	other.Text = nil
	if got := r.mustMake(other); got.Perplexity != nil || got.Source != nil || got.TextSHA256 != "" {
		t.Errorf("without a text: %+v", got)
	}
	r.wantRan("no text")
	other.Source = r.weights("other weights")
	r.mustMake(other)
	r.wantRan("other weights", "llama-quantize")
	// A maker that comes later finds all of it.
	if err := r.maker.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.maker, err = New(r.maker.cfg, r.maker.parts); err != nil {
		t.Fatal(err)
	}
	r.mustMake(r.order)
	r.wantRan("after a restart")
}

// What is not what it was is made again.
func TestDamageIsRepaired(t *testing.T) {
	r := newRig(t, nil)
	r.order.Text = nil
	first := r.mustMake(r.order)
	record := filepath.Join(filepath.Dir(first.Path), fileRecord)
	for name, damage := range map[string]func() error{
		"other content": func() error { return os.WriteFile(first.Path, make([]byte, first.Size), 0o600) },
		"cut off":       func() error { return os.Truncate(first.Path, 3) },
		"gone":          func() error { return os.Remove(first.Path) },
		"no record":     func() error { return os.Remove(record) },
		"a record that leads elsewhere": func() error {
			return os.WriteFile(record, []byte(`{"file":"../../x","size":1,"sha256":"y"}`), 0o600)
		},
	} {
		r.ran()
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got := r.mustMake(r.order); got.SHA256 != first.SHA256 || verify(t.Context(), got.Path, first.SHA256) != nil {
			t.Errorf("%s: got %+v", name, got)
		}
		if ran := r.ran(); !slices.Contains(ran, "llama-quantize") {
			t.Errorf("%s: ran %q", name, ran)
		}
	}
}

func TestFailuresAreExplained(t *testing.T) {
	for name, tt := range map[string]struct {
		quantize, perplexity string
		reason               apierr.Reason
		want                 string
	}{
		"quantiser killed":   {quantizetest.Crash, "", apierr.FailedPrecondition, "SIGKILL"},
		"quantiser rubbish":  {quantizetest.Rubbish, "", apierr.EngineFailed, "made no file"},
		"disk full":          {quantizetest.DiskFull, "", apierr.FailedPrecondition, "disk is full"},
		"memory":             {quantizetest.NoMemory, "", apierr.FailedPrecondition, "memory ran out"},
		"quantised already":  {quantizetest.Requantize, "", apierr.FailedPrecondition, "allow_requantize"},
		"matrix":             {quantizetest.Matrix, "", apierr.FailedPrecondition, "importance matrix"},
		"measurement killed": {"", quantizetest.Crash, apierr.FailedPrecondition, "SIGKILL"},
		"measured rubbish":   {"", quantizetest.Rubbish, apierr.EngineFailed, "without a perplexity"},
		"no number":          {"", quantizetest.NaN, apierr.EngineFailed, "without a perplexity"},
		"short text":         {"", quantizetest.Short, apierr.InvalidArgument, "37 tokens, and two windows of 512 need at least 1024"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			if tt.quantize != "" {
				r.tools.Quantize(tt.quantize)
			}
			if tt.perplexity != "" {
				r.tools.Perplexity(tt.perplexity)
			}
			_, err := r.make(t.Context(), r.order)
			if apierr.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
			r.nothingLeft("after the failure")
			r.tools.Quantize(quantizetest.Good)
			r.order.Text = nil
			r.mustMake(r.order)
		})
	}
}

func TestQuantizedSourcesNeedPermission(t *testing.T) {
	r := newRig(t, nil)
	r.order.Source = r.weights("quantised weights")
	if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "allow_requantize (on the command line --allow-requantize)") {
		t.Errorf("got %v", err)
	}
	r.wantRan("refused")
	r.order.AllowRequantize = true
	r.mustMake(r.order)
	if calls := strings.Join(r.tools.Calls(), "\n"); !strings.Contains(calls, "llama-quantize --allow-requantize ") {
		t.Errorf("calls %s", calls)
	}
	// What is there is refused all the same to who does not allow it.
	r.order.AllowRequantize = false
	if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}

var errEnough = errors.New("enough")

func TestCancelLeavesNothing(t *testing.T) {
	for name, slow := range map[string]func(*quantizetest.Tools){
		"while it measures": func(tools *quantizetest.Tools) { tools.Perplexity(quantizetest.Slow) },
		"while it is made":  func(tools *quantizetest.Tools) { tools.Quantize(quantizetest.Slow) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			slow(r.tools)
			if name == "while it is made" {
				r.order.Text = nil
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-r.pids
				cancel(errEnough)
			}()
			if _, err := r.make(ctx, r.order); !errors.Is(err, errEnough) {
				t.Errorf("got %v", err)
			}
			r.nothingLeft("after cancelling")
			r.tools.Quantize(quantizetest.Good)
			r.order.Text = nil
			r.mustMake(r.order)
		})
	}
}

func TestTimeout(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Parts) { c.Timeout = 300 * time.Millisecond })
	r.tools.Perplexity(quantizetest.Slow)
	if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	r.nothingLeft("after the timeout")
}

func TestRoom(t *testing.T) {
	full := errors.New("no memory")
	for name, tt := range map[string]struct {
		change func(*Config, *Parts)
		admit  error
		want   string
	}{
		"disk":   {func(_ *Config, p *Parts) { p.DiskFree = func(string) (int64, error) { return 1 << 30, nil } }, nil, "worker's disk"},
		"quota":  {func(c *Config, _ *Parts) { c.MaxBytes = config.MiB }, nil, "quantize.max_bytes"},
		"memory": {nil, full, "no memory"},
	} {
		r := newRig(t, tt.change)
		if tt.admit != nil {
			r.order.Admit = func(int64) error { return apierr.New(apierr.FailedPrecondition, "%v", tt.admit) }
		}
		if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
		r.wantRan(name)
		r.nothingLeft(name)
	}
}

// A source that is changed while it is read leaves nothing that would be found by
// its hash later.
func TestASourceThatChanges(t *testing.T) {
	for name, text := range map[string]string{"measured": "a text", "not measured": ""} {
		r := newRig(t, nil)
		r.order.Text = []byte(text)
		r.order.Progress = func(Phase, int) {
			if err := os.WriteFile(r.order.Source.Path, []byte(quantizetest.Magic+"other weights"), 0o600); err != nil {
				t.Error(err)
			}
		}
		_, err := r.make(t.Context(), r.order)
		if apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "were changed while") {
			t.Errorf("%s: %v", name, err)
		}
		r.nothingLeft(name)
		for _, dir := range []string{dirMade, dirMeasured} {
			if kept, err := os.ReadDir(r.maker.path(dir)); err != nil || len(kept) > 0 {
				t.Errorf("%s: kept %v, %v", name, kept, err)
			}
		}
	}
}

// A program that fails on a full disk need not say so.
func TestADiskThatFillsUp(t *testing.T) {
	free := int64(math.MaxInt64)
	r := newRig(t, func(_ *Config, p *Parts) {
		p.DiskFree = func(string) (int64, error) { return free, nil }
	})
	r.tools.Quantize(quantizetest.Crash)
	r.order.Progress = func(Phase, int) { free = 0 }
	if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v", err)
	}
}

func TestOneAtATime(t *testing.T) {
	r := newRig(t, nil)
	end, err := r.maker.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.maker.Begin(); apierr.ReasonOf(err) != apierr.Overloaded || apierr.From(err).RetryAfter == 0 {
		t.Errorf("got %v", err)
	}
	end()
	r.mustMake(r.order)
}

func TestOrdersAreChecked(t *testing.T) {
	r := newRig(t, nil)
	for name, tt := range map[string]struct {
		change func(*Order)
		field  string
	}{
		"a type that is not known":       {func(o *Order) { o.Type = "q4_k_x" }, "type"},
		"one that needs a matrix":        {func(o *Order) { o.Type = "iq2_xxs" }, "type"},
		"a second name":                  {func(o *Order) { o.Type = "q3_k" }, "type"},
		"text that is none":              {func(o *Order) { o.Text = []byte("caf\xe9") }, "text"},
		"white space":                    {func(o *Order) { o.Text = []byte(" \n\t") }, "text"},
		"a small window":                 {func(o *Order) { o.Window = 63 }, "window"},
		"a large window":                 {func(o *Order) { o.Window = 32769 }, "window"},
		"larger than the model's memory": {func(o *Order) { o.Window = 8192 }, "window"},
	} {
		o := r.order
		tt.change(&o)
		if _, err := r.make(t.Context(), o); apierr.ReasonOf(err) != apierr.InvalidArgument || apierr.From(err).Field != tt.field {
			t.Errorf("%s: got %v", name, err)
		}
	}
	r.wantRan("refused orders")
}

func TestMissingPrograms(t *testing.T) {
	r := newRig(t, func(_ *Config, p *Parts) { p.Perplexity = quantizetest.Program("/nowhere") })
	if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.FailedPrecondition || apierr.From(err).Field != "text" {
		t.Errorf("without llama-perplexity: %v", err)
	}
	r.order.Text = nil
	r.mustMake(r.order)
	if offer, known := r.maker.Known(); !known || offer.Measures || !slices.Equal(offer.Types, []string{"q4_0", "q4_k_m", "q8_0"}) {
		t.Errorf("offer %+v", offer)
	}
	r = newRig(t, func(_ *Config, p *Parts) { p.Quantize = quantizetest.Program("/nowhere") })
	if _, err := r.make(t.Context(), r.order); apierr.ReasonOf(err) != apierr.FailedPrecondition ||
		!strings.Contains(err.Error(), "no quantiser (llama-quantize)") || strings.Count(err.Error(), "not installed") > 1 {
		t.Errorf("without llama-quantize: %v", err)
	}
	if _, known := r.maker.Known(); known {
		t.Error("something is offered")
	}
}
