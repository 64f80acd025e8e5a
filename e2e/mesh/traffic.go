package mesh

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/poterne/poterne/e2e/process"
)

// chatMethods are the RPCs by which a chat reaches each kind of process.
var chatMethods = []string{"OpenAIService/CreateChatCompletion", "OpenAIService/StreamChatCompletion", "Service/Invoke"}

var errNoTraffic = errors.New("no such call has been counted")

// WaitTraffic waits until a process's own metrics count a chat. A process that
// was started again counts from zero. Processes that are not ours are passed.
func (m *Mesh) WaitTraffic(ctx context.Context, name string) error {
	ops, ok := m.ops(name)
	if !ok {
		return nil
	}
	return process.Poll(ctx, func(ctx context.Context) error {
		return counts(ctx, ops, func(line string) bool {
			return strings.HasPrefix(line, "poterne_rpc_server_duration_seconds_count{") &&
				slices.ContainsFunc(chatMethods, func(m string) bool { return strings.Contains(line, m) })
		})
	})
}

// WaitDirect waits until a process's own metrics count a stream that it opened past HTTP/2.
func (m *Mesh) WaitDirect(ctx context.Context, name string) error {
	ops, ok := m.ops(name)
	if !ok {
		return fmt.Errorf("there is no process %q that opens streams", name)
	}
	return process.Poll(ctx, func(ctx context.Context) error {
		return counts(ctx, ops, func(line string) bool {
			return strings.HasPrefix(line, "poterne_rpc_client_calls_total{") &&
				strings.Contains(line, "Service/InvokeStream") && strings.Contains(line, `way="direct"`)
		})
	})
}

func (m *Mesh) ops(name string) (port int, ok bool) {
	p := m.opts.Ports
	port, ok = map[string]int{
		"edge-1": p.Edge[0].Ops, "edge-2": p.Edge[1].Ops,
		"inference-1": p.Inference[0].Ops, "inference-2": p.Inference[1].Ops,
		"worker-1": p.Worker[0].Ops, "worker-2": p.Worker[1].Ops,
	}[name]
	return port, ok
}

// counts looks for a series that is one of those wanted, and not 0.
func counts(ctx context.Context, ops int, wanted func(line string) bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", addr(ops)), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if line := lines.Text(); wanted(line) && !strings.HasSuffix(line, " 0") {
			return nil
		}
	}
	return errors.Join(lines.Err(), errNoTraffic)
}
