package api

import (
	"context"
	"encoding/base64"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

const (
	defaultWorkers = 100
	maxPage        = 1000
)

// ListWorkers lists the workers by id, as this replica sees them.
func (s *Server) ListWorkers(_ context.Context, req *inferencev1.ListWorkersRequest) (*inferencev1.ListWorkersResponse, error) {
	after, err := readToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize(), defaultWorkers)
	resp := new(inferencev1.ListWorkersResponse)
	for _, w := range s.opts.Fleet.View().Workers {
		key := w.ID() + " " + w.Addr() // ids may repeat while a worker moves
		if key <= after {
			continue
		}
		if len(resp.Workers) == size {
			last := resp.GetWorkers()[size-1]
			resp.NextPageToken = writeToken(last.GetState().GetWorkerId() + " " + last.GetAddress())
			break
		}
		resp.Workers = append(resp.Workers, viewOf(w))
	}
	return resp, nil
}

func viewOf(w *fleet.Worker) *inferencev1.WorkerView {
	r := w.Report()
	v := &inferencev1.WorkerView{
		State: r.State, Address: w.Addr(), Connected: r.Connected,
		InFlight: int32(w.InFlight()),
	}
	if v.GetState() == nil {
		v.State = &workerv1.WorkerState{WorkerId: w.ID()}
	}
	if !r.At.IsZero() {
		v.UpdateTime = timestamppb.New(r.At)
	}
	return v
}

func pageSize(asked int32, normal int) int {
	if asked <= 0 {
		return normal
	}
	return min(int(asked), maxPage)
}

// A page token is the last key of the page before, so that pages stay right
// while things come and go.
func writeToken(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

func readToken(token string) (string, error) {
	last, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(last) > maxToken {
		return "", apierr.Invalid("page_token", "page_token is not one that this service gave")
	}
	return string(last), nil
}
