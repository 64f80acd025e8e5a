package process

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// tailOf is what is shown of a child that wrote text.
func tailOf(t *testing.T, text string) string {
	t.Helper()
	o := newOutput(slog.New(slog.DiscardHandler))
	o.begin(1)
	if _, err := o.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	o.end()
	return o.tail()
}

func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// The reason of an end is shown, however much was written of the end itself.
func TestTheReasonIsKept(t *testing.T) {
	mlserver, err := os.ReadFile("testdata/mlserver-bad-weights.txt")
	if err != nil {
		t.Fatal(err)
	}
	shutdown := lines(12, "INFO:     Shutting down part %d")
	vllm := `(EngineCore_DP0 pid=7) ERROR 06-30 13:53:19 [core.py:515] EngineCore failed to start.
(EngineCore_DP0 pid=7) ERROR 06-30 13:53:19 [core.py:515] Traceback (most recent call last):
(EngineCore_DP0 pid=7) ERROR 06-30 13:53:19 [core.py:515]   File "core.py", line 506, in run_engine_core
(EngineCore_DP0 pid=7) ERROR 06-30 13:53:19 [core.py:515]     raise ValueError(
(EngineCore_DP0 pid=7) ERROR 06-30 13:53:19 [core.py:515] ValueError: Free memory on device (31.44/47.38 GiB) on startup is less than desired
Traceback (most recent call last):
  File "/usr/bin/vllm", line 8, in <module>
    sys.exit(main())
RuntimeError: Engine core initialization failed. See root cause above.
`
	for name, tt := range map[string]struct {
		text  string
		begin string   // of what is shown
		also  []string // in it
		never string
	}{
		"MLServer": {
			string(mlserver), "ValueError: invalid literal for int() with base 10: b'arbage' … ",
			[]string{"gRPC server shutdown complete"},
			"Some of the models",
		},
		"vLLM, with its cause": {
			vllm + shutdown, "(EngineCore_DP0 pid=7) ERROR 06-30 13:53:19 [core.py:515] ValueError: Free memory",
			[]string{"| RuntimeError: Engine core initialization failed", "part 11"},
			"sys.exit",
		},
		"an exception of no usual name": {
			"Traceback (most recent call last):\n  File \"x\"\n    raise Gone('ValueError: no')\nhub.Gone: it is gone\n" + shutdown, "hub.Gone: it is gone … ", nil, "ValueError",
		},
		"C++": {
			"terminate called after throwing an instance of 'std::runtime_error'\n  what():  cannot map the file\n" + shutdown,
			"terminate called after",
			[]string{"| what():  cannot map the file"},
			"",
		},
		"Go":               {"panic: no model\n\ngoroutine 1 [running]:\n" + lines(20, "main.f(%d)"), "panic: no model … ", []string{"main.f(19)"}, ""},
		"a log's error":    {"error: unknown argument --x\n" + shutdown, "error: unknown argument --x … ", nil, ""},
		"llama-server":     {"llama_model_load: error loading model: unknown architecture\nmain: failed to load model 'm.gguf'\n" + shutdown, "llama_model_load: error loading", nil, ""},
		"the worst of all": {"ERROR - first\nKeyError: 'x'\nERROR - last\n" + shutdown, "KeyError: 'x' … ", nil, "ERROR"},
		"told at the end":  {shutdown + "ValueError: y\n", "INFO:", []string{"| ValueError: y"}, ""},
		"an end by request": {
			"INFO:     serving\nTraceback (most recent call last):\n  File \"x\"\nasyncio.exceptions.CancelledError\nKeyboardInterrupt\n" + shutdown,
			"INFO:     Shutting down part 4", nil, "Cancelled",
		},
		"long ago":         {"ValueError: of a request\n" + lines(tellingFor, "INFO: request %d"), "INFO: request", nil, "ValueError"},
		"one so long":      {"ValueError: " + strings.Repeat("ä", 5000) + "\n" + shutdown, "ValueError: ää", []string{"ä… … "}, ""},
		"many of the same": {strings.Repeat("ValueError: z\n", 50) + shutdown, "ValueError: z … ", nil, "z |"},
		"nothing telling":  {shutdown, "INFO:     Shutting down part 4", nil, ""},
	} {
		got := tailOf(t, tt.text)
		if !strings.HasPrefix(got, tt.begin) || tt.never != "" && strings.Contains(got, tt.never) {
			t.Errorf("%s: %q, want %q at first, and not %q", name, got, tt.begin, tt.never)
		}
		for _, also := range tt.also {
			if !strings.Contains(got, also) {
				t.Errorf("%s: %q, without %q", name, got, also)
			}
		}
		if len(got) > 2*maxTelling+maxTail || strings.Contains(got, "\n") {
			t.Errorf("%s: %d bytes: %q", name, len(got), got)
		}
	}
}

// Whatever a child writes, a bounded line comes out.
func FuzzTail(f *testing.F) {
	f.Add("Traceback (most recent call last):\n  x\nValueError: y\n")
	f.Add("ERROR\xff\n\n\t\nTraceback (most recent call last):")
	f.Fuzz(func(t *testing.T, text string) {
		got := tailOf(t, text)
		if len(got) > 2*maxTelling+maxTail+64 || strings.Contains(got, "\n") || strings.ToValidUTF8(got, "") != got {
			t.Fatalf("%d bytes: %q", len(got), got)
		}
	})
}
