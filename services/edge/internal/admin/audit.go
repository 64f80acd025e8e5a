package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/requestid"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/requests"
)

// ListAuditRecords lists the records of the caller's tenant; of all tenants for
// administrators of the platform.
func (s *Server) ListAuditRecords(ctx context.Context, req *edgev1.ListAuditRecordsRequest) (*edgev1.ListAuditRecordsResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if s.records == nil {
		return nil, apierr.New(apierr.FailedPrecondition, "the audit trail is kept in files here, which cannot be listed")
	}
	q := audit.Query{Tenant: s.visibleTenant(ctx, c, "audit"), RequestID: req.GetRequestId()}
	if err := readToken(req.GetPageToken(), &q.Before, func(p audit.Position) string { return p.ID }); err != nil {
		return nil, err
	}
	if q.Filter, err = audit.ParseFilter(req.GetFilter()); err != nil {
		return nil, apierr.Invalid("filter", "filter: %s", err)
	}
	if err := ofOwn(q); err != nil {
		return nil, err
	}
	if q.RequestID != "" && !requestid.Valid(q.RequestID) {
		return &edgev1.ListAuditRecordsResponse{}, nil // no request has such an id
	}
	size := pageSize(req.GetPageSize())
	q.Limit = size + 1
	recs, err := s.readTrail(ctx, q)
	if err != nil {
		return nil, trailError(err)
	}
	out := &edgev1.ListAuditRecordsResponse{}
	if len(recs) > size {
		recs = recs[:size]
		out.NextPageToken = writeToken(audit.PositionOf(recs[size-1]))
	}
	for _, r := range recs {
		out.Records = append(out.Records, recordMessage(r, q.Tenant == ""))
	}
	return out, nil
}

// readTrail reads records. Those of one tenant are without their place in the
// trail, which all tenants share: what is between two of them would tell how much
// the others do.
func (s *Server) readTrail(ctx context.Context, q audit.Query) ([]audit.Record, error) {
	recs, err := s.records.List(ctx, q)
	if q.Tenant == "" {
		return recs, err
	}
	for i := range recs {
		r := &recs[i]
		r.Chain, r.Sequence, r.Previous, r.Hash = "", 0, auditproof.Hash{}, auditproof.Hash{}
		r.Decisions = r.Decisions.ForTenants()
	}
	return recs, err
}

// ofOwn refuses filters by what records of one tenant come without.
func ofOwn(q audit.Query) error {
	if q.Tenant != "" && q.Filter.OfPlace() {
		return apierr.Invalid("filter", "filter: chain and sequence are for the platform's administrators: they are of all tenants' records")
	}
	return nil
}

// recordMessage returns what is told of a record, to the platform or to its tenant.
func recordMessage(r audit.Record, platform bool) *edgev1.AuditRecord {
	out := &edgev1.AuditRecord{
		RequestId: r.RequestID, Time: timestamppb.New(r.Time), Tenant: r.Tenant, Subject: r.Subject, KeyId: r.KeyID,
		Method: r.Method, Resource: r.Resource, Decision: r.Decision, ErrorReason: r.Reason,
		DurationMs: float64(r.Duration) / float64(time.Millisecond), Address: r.Address,
		ServedBy: r.ServedBy, Experiment: r.Experiment, Arm: r.Arm, PromptTokens: r.PromptTokens, CompletionTokens: r.CompletionTokens, CostMicros: r.CostMicros, Currency: r.Currency,
		Id: r.ID, Policy: r.Policy, Rule: r.Rule, Findings: r.Findings, Review: r.Review, Documents: r.Documents, Cache: r.Cache,
		Chain: r.Chain, Sequence: r.Sequence, Hash: hashText(r.Hash), PreviousHash: hashText(r.Previous),
		Content: r.ContentState(), ContentSha256: hashText(r.Content),
	}
	if list, omitted, err := r.Decisions.Decode(); err == nil && len(list)+omitted > 0 { // what was changed, its hash tells
		out.Decisions, out.OmittedDecisions = requests.Decisions(list, platform), int32(min(omitted, 1<<30))
	}
	return out
}

// hashText is the empty text for no hash.
func hashText(h auditproof.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}
