package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

const quantizePath = "/v1/admin/quantizations"

// The bounds of the gateway, looked at before anything is sent.
const (
	maxTextBytes = 8 << 20
	minWindow    = 64
	maxWindow    = 32768
	maxThreads   = 1024
)

// quantization is what `models quantize` asks for.
type quantization struct {
	to, from, text, worker, name string
	window, threads              int
	requantize                   bool
}

func (a *app) modelsQuantizeCommand() *cobra.Command {
	var q quantization
	cmd := &cobra.Command{
		Use:   "quantize MODEL[@REF]",
		Short: "Make a smaller form of a version's weights on a worker, measure it, and register it as a variant",
		Long: `Has a worker make a quantised form of a version's weights with the engine's own
quantiser. With --text both forms are measured on a text of your own domain, and
the variant says by how much it is worse; without it the loss is not known, and a
model with a bound on it does not serve the variant. The same again is quick: the
worker keeps what it made. Interrupting ends the work. It may take hours: --timeout
does not bound it; limits.deadlines.quantize of the gateway and quantize.timeout of
inference and worker do (6 hours each, unless set otherwise).`,
		Example: `  poterne models quantize acme-chat --to q4_k_m --text wiki.txt
  poterne models quantize acme-chat@v3 --to q5_k_m --from f16 --worker gpu-1
  poterne models quantize smollm2-135m --to q2_k --allow-requantize   # its own weights are Q4_1`,
		Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := q.body(args[0], a.streams.In)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.quantize(cmd.Context(), c, body)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.to, "to", "", "what to make, such as q8_0 or q4_k_m (required)")
	f.StringVar(&q.from, "from", "", "the variant to make it from; by default the version's own weights")
	f.StringVar(&q.text, "text", "", "a UTF-8 text of at most 8 MiB to measure both on: a file, or - for standard input")
	f.IntVar(&q.window, "window", 0, "tokens of one window of the text, 64 to 32768; 0 is 512")
	f.BoolVar(&q.requantize, "allow-requantize", false, "also from weights that are quantised already, which loses more")
	f.StringVar(&q.worker, "worker", "", "the worker that shall do it; by default the gateway chooses")
	f.IntVar(&q.threads, "threads", 0, "threads that it may take; 0 is the worker's own number")
	f.StringVar(&q.name, "name", "", "the variant's name; by default what is made")
	return cmd
}

// body is the request, checked as far as it can be here.
func (q quantization) body(model string, in io.Reader) (map[string]any, error) {
	switch {
	case q.to == "":
		return nil, usagef("--to is needed, such as q4_k_m")
	case q.window != 0 && (q.window < minWindow || q.window > maxWindow):
		return nil, usagef("--window must be from %d to %d, got %d", minWindow, maxWindow, q.window)
	case q.threads < 0 || q.threads > maxThreads:
		return nil, usagef("--threads must be from 0 to %d, got %d", maxThreads, q.threads)
	case q.name == baseVariant:
		return nil, usagef("--name must not be %s: that is the version's own weights", baseVariant)
	}
	text, err := readText(q.text, in)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"model": model, "source": q.from, "type": strings.ToLower(q.to), "text": text, "window": q.window,
		"allow_requantize": q.requantize, "worker_id": q.worker, "threads": q.threads, "variant": q.name,
	}, nil
}

// readText reads the text at a path, or from in for -; without a path there is
// none.
func readText(path string, in io.Reader) (string, error) {
	if path == "" {
		return "", nil
	}
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("--text: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxTextBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("--text %s: %w", path, err)
	case len(raw) == 0:
		return "", usagef("--text %s: the text is empty", path)
	case len(raw) > maxTextBytes:
		return "", usagef("--text %s: the text is larger than 8 MiB; a part of it measures as well", path)
	case !utf8.Valid(raw):
		return "", usagef("--text %s: the text is not UTF-8", path)
	}
	return string(raw), nil
}

// quantize follows the work to its end and prints what came of it.
func (a *app) quantize(ctx context.Context, c *client, body map[string]any) error {
	p := a.newProgress()
	var variant map[string]any
	err := c.stream(ctx, quantizePath, body, func(data []byte) error {
		var event struct {
			Started, Progress, Variant map[string]any
		}
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		if err := dec.Decode(&event); err != nil {
			return fmt.Errorf("an event is not JSON: %w", err)
		}
		switch {
		case event.Started != nil:
			p.line(fmt.Sprintf("%s@v%s on worker %s", cell(event.Started["model"]), cell(event.Started["version"]), cell(event.Started["worker_id"])))
		case event.Progress != nil:
			p.phase(event.Progress)
		case event.Variant != nil:
			variant = event.Variant
		}
		return nil
	})
	p.end()
	if ctx.Err() != nil {
		return errors.New("interrupted: the worker ends its work, and nothing is registered")
	}
	if err != nil {
		return err
	}
	if variant == nil {
		return errors.New("the gateway told of no variant")
	}
	if a.settings.output != "table" {
		return a.print(variant, nil)
	}
	from, _ := body["source"].(string)
	return a.printQuantized(ctx, c, variant, firstOf(from, baseVariant))
}

// printQuantized sets a variant beside what it was made from.
func (a *app) printQuantized(ctx context.Context, c *client, variant map[string]any, from string) error {
	source := map[string]any{"name": from, "perplexity": perplexity(variant, "source_perplexity")}
	var version map[string]any
	// Without it only the source's size and loss are not shown.
	if c.call(ctx, http.MethodGet, modelPath(cell(variant["model"]), "versions", cell(variant["version"])), nil, &version) == nil {
		source["size"], source["loss"] = sizeAndLoss(version, from)
	}
	result := map[string]any{
		"name": variant["name"], "size": size(variant["size_bytes"]),
		"perplexity": perplexity(variant, "perplexity"), "loss": percent(lookup(variant, "quality.loss")),
	}
	return a.print([]any{source, result}, columns("VARIANT name", "SIZE size", "PERPLEXITY perplexity", "LOSS loss"))
}

// sizeAndLoss are those of a variant of a version, its own weights included.
func sizeAndLoss(version map[string]any, name string) (bytes, loss string) {
	if name == baseVariant {
		return size(weightBytes(version["spec"])), percent(0)
	}
	variants, _ := version["variants"].([]any)
	for _, v := range variants {
		if lookup(v, "name") == name {
			return size(lookup(v, "size_bytes")), percent(lookup(v, "quality.loss"))
		}
	}
	return "", ""
}

// perplexity writes a figure of a variant's quality with its standard error.
func perplexity(variant map[string]any, key string) string {
	value := number(lookup(variant, "quality."+key))
	if value == 0 {
		return ""
	}
	return fmt.Sprintf("%.4f ± %.4f", value, number(lookup(variant, "quality."+key+"_error")))
}
