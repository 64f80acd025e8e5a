package mesh

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/poterne/poterne/e2e/process"
)

// chatMethods are the RPCs by which a chat reaches each kind of process.
var chatMethods = []string{"OpenAIService/CreateChatCompletion", "OpenAIService/StreamChatCompletion", "Service/Invoke"}

var errNoTraffic = errors.New("no chat has been counted")

// WaitTraffic waits until a process's own metrics count a chat. A process that
// was started again counts from zero. Processes that are not ours are passed.
func (m *Mesh) WaitTraffic(ctx context.Context, name string) error {
	p := m.opts.Ports
	ops, ok := map[string]int{
		"edge-1": p.Edge[0].Ops, "edge-2": p.Edge[1].Ops,
		"inference-1": p.Inference[0].Ops, "inference-2": p.Inference[1].Ops,
		"worker-1": p.Worker[0].Ops, "worker-2": p.Worker[1].Ops,
	}[name]
	if !ok {
		return nil
	}
	return process.Poll(ctx, func(ctx context.Context) error { return countsChat(ctx, ops) })
}

func countsChat(ctx context.Context, ops int) error {
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
		line := lines.Text()
		if !strings.HasPrefix(line, "poterne_rpc_server_duration_seconds_count{") || strings.HasSuffix(line, " 0") {
			continue
		}
		for _, method := range chatMethods {
			if strings.Contains(line, method) {
				return nil
			}
		}
	}
	return errors.Join(lines.Err(), errNoTraffic)
}
