package bench

import (
	"context"
	"strings"

	"github.com/poterne/poterne/e2e/process"
)

// goModel starts GoModel with its defaults, which track usage in SQLite.
func (s *stage) goModel(ctx context.Context, path string) error {
	engine, _, err := s.engine(ctx, "gomodel")
	if err != nil {
		return err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return err
	}
	const key = "bench"
	_, port, _ := strings.Cut(at[0], ":")
	p, err := s.start(ctx, process.Spec{
		Name: "gomodel", Path: path,
		Env: []string{
			"PORT=" + port, "GOMODEL_MASTER_KEY=" + key, "VLLM_BASE_URL=http://" + engine + "/v1",
		},
		Ready: process.HTTPReady("http://"+at[0]+"/health", nil),
	})
	if err != nil {
		return err
	}
	return s.enter(ctx, &contender{
		name: byGoModel, addr: at[0], path: chatPath, model: simModel, pids: []int{p.Pid()},
		header: [][2]string{{"Authorization", "Bearer " + key}},
	})
}
