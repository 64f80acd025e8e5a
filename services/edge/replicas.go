package edge

import (
	"context"

	"github.com/poterne/poterne/pkg/discovery/backend"
)

// replicas returns what tells how many edges there are; nil where discovery does not
// know: a static one that names none has only this one.
func (s *Service) replicas() func(ctx context.Context) <-chan int {
	named := len(s.cfg.Discovery.Static[ServiceName])
	static := s.cfg.Discovery.Kind == backend.KindStatic
	if static && named == 0 {
		return nil
	}
	return func(ctx context.Context) <-chan int {
		out := make(chan int)
		go func() {
			defer close(out)
			for set := range s.discovery.Watch(ctx, ServiceName) {
				n := len(set)
				if static {
					n = named // whoever registers is one of them
				}
				select {
				case out <- n:
				case <-ctx.Done():
				}
			}
		}()
		return out
	}
}
