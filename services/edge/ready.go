package edge

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/lifecycle"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// CheckChat is the name of the edge's readiness check.
const CheckChat = "edge: chat"

// notReadyInterval is how often it is asked while the answer is no: a model that
// has become ready should serve at once.
const notReadyInterval = 50 * time.Millisecond

// probeTimeout bounds one question to the inference service.
const probeTimeout = 2 * time.Second

// readyComponent keeps asking whether a chat request would be served: whether
// the inference service answers, and has a chat model that is ready.
func (s *Service) readyComponent() lifecycle.Component {
	check := s.readiness.Register(CheckChat)
	check.NotReady("the inference service has not answered yet")
	client := inferencev1.NewInferenceServiceClient(s.backends.inference)
	return lifecycle.Component{Name: CheckChat, Run: func(ctx context.Context) error {
		for ctx.Err() == nil {
			wait := s.cfg.ReadyInterval
			reason := s.probe(ctx, client)
			if reason != nil {
				wait = min(wait, notReadyInterval)
			}
			if ctx.Err() == nil {
				check.Report(reason)
			}
			_ = clock.Sleep(ctx, s.opts.clock, wait)
		}
		return nil
	}}
}

// CheckAudit is the name of the check of the audit trail.
const CheckAudit = "edge: audit"

// auditComponent keeps looking whether requests are refused because they could not
// be recorded.
func (s *Service) auditComponent() lifecycle.Component {
	check := s.readiness.Register(CheckAudit)
	check.Report(nil)
	return lifecycle.Component{Name: CheckAudit, Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, s.opts.clock, s.cfg.ReadyInterval, nil, func(context.Context) error {
			check.Report(s.security.AuditRefusing())
			return nil
		})
	}}
}

// probe returns why a chat request would not be served.
func (s *Service) probe(ctx context.Context, client inferencev1.InferenceServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	ctx = identity.NewContext(ctx, identity.Caller{Tenant: s.cfg.Security.Authz.PlatformTenant, Subject: ServiceName})
	req := new(inferencev1.ListServedModelsRequest)
	for {
		resp, err := client.ListServedModels(ctx, req)
		if err != nil {
			return errors.New("the inference service does not answer: " + apierr.From(err).Message)
		}
		for _, m := range resp.GetModels() {
			if m.GetTask() == commonv1.Task_TASK_CHAT && m.GetState() == inferencev1.ServingState_SERVING_STATE_READY {
				return nil
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return errors.New("no chat model is ready")
		}
	}
}
