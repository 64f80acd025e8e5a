package responses

import (
	"context"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/responseitem"
)

// GetResponse returns a response that was kept.
func (s *Server) GetResponse(ctx context.Context, req *edgev1.GetResponseRequest) (*edgev1.Response, error) {
	if req.GetStream() {
		return nil, invalid("stream", "must not be true: a response is kept, its stream is not")
	}
	turn, err := s.one(ctx, req.GetResponseId())
	if err != nil {
		return nil, err
	}
	return s.response(turn)
}

// DeleteResponse forgets a response.
func (s *Server) DeleteResponse(ctx context.Context, req *edgev1.DeleteResponseRequest) (*edgev1.DeleteResponseResponse, error) {
	o, key, err := s.read(ctx, req.GetResponseId(), "response_id")
	if err != nil {
		return nil, err
	}
	if err := s.Store.Delete(ctx, o, key, s.Clock.Now()); err != nil {
		return nil, s.failed(err, req.GetResponseId(), "response_id")
	}
	return &edgev1.DeleteResponseResponse{Id: req.GetResponseId(), Object: "response.deleted", Deleted: true}, nil
}

// ListResponseInputItems lists what a response was asked, with what it went on from.
func (s *Server) ListResponseInputItems(ctx context.Context, req *edgev1.ListResponseInputItemsRequest) (*edgev1.ListResponseInputItemsResponse, error) {
	turns, err := s.chain(ctx, req.GetResponseId(), "response_id")
	if err != nil {
		return nil, err
	}
	last := turns[len(turns)-1]
	items, err := s.history(turns[:len(turns)-1])
	if err != nil {
		return nil, err
	}
	own, err := s.input(last)
	if err != nil {
		return nil, err
	}
	items = append(items, own...)
	page, more, err := responseitem.Page(items, req.GetOrder(), req.GetAfter(), int(req.GetLimit()))
	if err != nil {
		return nil, err
	}
	out := &edgev1.ListResponseInputItemsResponse{Object: "list", Data: page, HasMore: more}
	if n := len(out.GetData()); n > 0 {
		out.FirstId, out.LastId = &out.Data[0].Id, &out.Data[n-1].Id
	}
	return out, nil
}

// CancelResponse finds nothing to end: no response is made in the background.
func (s *Server) CancelResponse(ctx context.Context, req *edgev1.CancelResponseRequest) (*edgev1.Response, error) {
	if _, err := s.one(ctx, req.GetResponseId()); err != nil {
		return nil, err
	}
	return nil, invalid("response_id", "is not of a response that is made in the background, and only those can be cancelled")
}
