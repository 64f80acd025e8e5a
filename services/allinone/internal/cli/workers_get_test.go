package cli

import (
	"strconv"
	"strings"
	"testing"
)

func TestWorkersGet(t *testing.T) {
	gateway := answer(200, `{"workers":[{"connected":true,"address":"10.0.0.1:9093","state":{"worker_id":"gpu-1","draining":false,"in_flight":3,
		"engines":["vllm"],"memory":[{"id":"gpu0","total_bytes":"85899345920","used_bytes":"1048576","free_bytes":"0"}],
		"gpus":[{"pool":"gpu0","name":"H100","memory_total_bytes":"85899345920","utilization_percent":97,"temperature_celsius":61,"ecc_errors":"0"}],
		"models":[{"name":"m@v1/q8_0","engine":"vllm","state":"MODEL_STATE_READY","memory_bytes":"1048576","slots":8,"active":3,"queued":0,
			"kv_cache_usage":0.5,"generation_tokens_per_second":41.26,"restarts":1}]}}]}`)
	code, out, _ := run(t, gateway, "", "workers", "get", "gpu-1")
	for _, want := range []string{"10.0.0.1:9093", "80.00 GiB", "H100", "97", "61", "m@v1/q8_0", "1.0 MiB", "50.00%", "41.3", "ready"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// What the engine does not tell has no figure.
	if _, rows, _ := strings.Cut(out, "PREFIX-HITS"); code != 0 || !strings.Contains(rows, "50.00%  -") {
		t.Errorf("code %d:\n%s", code, out)
	}
	code, _, stderr := run(t, gateway, "", "workers", "get", "gpu-2")
	if code != 1 || !strings.Contains(stderr, `no worker "gpu-2"`) {
		t.Errorf("code %d: %s", code, stderr)
	}
	// Without a verb it lists.
	_, list, _ := run(t, gateway, "", "workers", "list")
	if code, out, _ := run(t, gateway, "", "workers"); code != 0 || out != list {
		t.Errorf("code %d: %s", code, out)
	}
	if code, _, _ := run(t, gateway, "", "workers", "oops"); code != 2 {
		t.Errorf("a verb that is not there: code %d", code)
	}
}

// What a model failed with does not break the lines of the list; it is all there where one
// worker is looked at, and for scripts.
func TestWorkersTableIsOfLines(t *testing.T) {
	why := "the model needs 99999999999 bytes\nand " + strings.Repeat("that is more than there is ", 15) + "at all"
	gateway := answer(200, `{"workers":[{"connected":true,"state":{"worker_id":"a","models":[{"name":"m","state":"MODEL_STATE_FAILED","error":`+strconv.Quote(why)+`}]}}]}`)
	_, out, _ := run(t, gateway, "", "workers")
	for line := range strings.SplitSeq(out, "\n") {
		if len([]rune(line)) > 200 {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
	if !strings.Contains(out, "the model needs 99999999999 bytes and that") || !strings.Contains(out, "…") {
		t.Errorf("got %s", out)
	}
	for _, args := range []string{"workers get a", "workers -o json", "workers list -o yaml"} {
		if _, out, _ := run(t, gateway, "", strings.Fields(args)...); !strings.Contains(out, "is at all") {
			t.Errorf("%s: %s", args, out)
		}
	}
}
