package admin

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// Proof is what the server needs to prove the audit trail.
type Proof interface {
	Verify(ctx context.Context, in audit.VerifyRange) (auditproof.Report, error)
	Registrations(ctx context.Context) ([]auditproof.Registration, error)
	// Proofs gives the records that q selects with inclusion proofs, and first the keys
	// that have signed.
	Proofs(ctx context.Context, q audit.Query, keys func([]string) error, records func([]audit.ProvenRecord) error) error
	// Consistency proves that a chain begins with what it was.
	Consistency(ctx context.Context, chain string, from, to int64) ([]auditproof.Hash, error)
	// Everything gives one state of the trail: first what the records are verified by,
	// then those of each chain in their order, then those that are in none.
	Everything(ctx context.Context, proof func([]auditproof.Registration, []string) error, records func([]audit.Record) error) error
}

// maxChains is how many chains an answer lists.
const maxChains = 1000

// trailError is an error of reading the trail.
func trailError(err error) error {
	if _, known := errors.AsType[*apierr.Error](err); known || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return apierr.Wrap(apierr.Unavailable, err, "the audit trail cannot be read now").WithRetryAfter(time.Second)
}

func inFiles() error {
	return apierr.New(apierr.FailedPrecondition, "the audit trail is kept in files here, which cannot be listed: use poterne audit verify FILE")
}

// VerifyAudit verifies the trail.
func (s *Server) VerifyAudit(ctx context.Context, req *edgev1.VerifyAuditRequest) (*edgev1.VerifyAuditResponse, error) {
	if s.proof == nil {
		return nil, inFiles()
	}
	report, err := s.proof.Verify(ctx, audit.VerifyRange{Chain: req.GetChain(), Checkpoints: req.GetCheckpoints()})
	if err != nil {
		return nil, trailError(err)
	}
	out := &edgev1.VerifyAuditResponse{
		Intact: report.Found == 0, Records: report.Records, UnchainedRecords: report.Unchained, ChainBeginTime: timestamp(report.Begins),
		FindingCount: report.Found,
	}
	for _, f := range report.Findings {
		out.Findings = append(out.Findings, &edgev1.AuditFinding{
			Kind: f.Kind, Chain: f.Chain, FirstSequence: f.From, LastSequence: f.To, Id: f.ID, Detail: f.Detail,
		})
	}
	for _, c := range report.Chains[max(0, len(report.Chains)-maxChains):] {
		out.Chains = append(out.Chains, &edgev1.AuditChain{
			Chain: c.Chain, FirstSequence: c.From, Size: c.Size, Checkpoints: int32(c.Checkpoints), SignedSize: c.Proven,
		})
	}
	return out, nil
}

// ListAuditKeys lists the keys of all chains, each once.
func (s *Server) ListAuditKeys(ctx context.Context, _ *edgev1.ListAuditKeysRequest) (*edgev1.ListAuditKeysResponse, error) {
	if s.proof == nil {
		return nil, inFiles()
	}
	regs, err := s.proof.Registrations(ctx)
	if err != nil {
		return nil, trailError(err)
	}
	out := new(edgev1.ListAuditKeysResponse)
	seen := make(map[string]bool)
	for _, r := range regs {
		if !seen[r.Key] {
			seen[r.Key] = true
			out.Keys = append(out.Keys, &edgev1.AuditKey{Key: r.Key, CreateTime: timestamppb.New(r.Time)})
		}
	}
	return out, nil
}

// ExportAudit gives the records of the caller's tenant; of all tenants for
// administrators of the platform.
func (s *Server) ExportAudit(req *edgev1.ExportAuditRequest, out grpc.ServerStreamingServer[edgev1.ExportAuditResponse]) error {
	ctx := out.Context()
	c, err := caller(ctx)
	if err != nil {
		return err
	}
	if s.records == nil || s.proof == nil {
		return inFiles()
	}
	q := audit.Query{Tenant: s.visibleTenant(ctx, c, "audit"), Oldest: true}
	if q.Filter, err = audit.ParseFilter(req.GetFilter()); err != nil {
		return apierr.Invalid("filter", "filter: %s", err)
	}
	if err := ofOwn(q); err != nil {
		return err
	}
	e := audit.NewExport(req.GetFormat() == "csv", func(data []byte) error {
		return out.Send(&edgev1.ExportAuditResponse{Data: data})
	})
	if req.GetProofs() {
		return s.exportProofs(ctx, req, q, e)
	}
	if req.GetProof() {
		return s.exportProof(ctx, req, q, e)
	}
	if err := e.Begin(); err != nil {
		return err
	}
	for q.Limit = exportPage; ; {
		page, err := s.readTrail(ctx, q)
		if err != nil {
			return trailError(err)
		}
		if err := e.Records(page); err != nil {
			return err
		}
		if len(page) < exportPage {
			return nil
		}
		q.Before = audit.PositionOf(page[len(page)-1])
	}
}

const exportPage = 500

// exportProof gives everything, with what it is verified by.
func (s *Server) exportProof(ctx context.Context, req *edgev1.ExportAuditRequest, q audit.Query, e *audit.Export) error {
	if q.Tenant != "" {
		return apierr.New(apierr.PermissionDenied, "the proof is over the records of all tenants: only the platform's administrators get it")
	}
	if req.GetFilter() != "" || req.GetFormat() == "csv" {
		return apierr.Invalid("proof", "proof: is for whole exports in jsonl")
	}
	if err := s.proof.Everything(ctx, e.Proof, e.Records); err != nil {
		return trailError(err)
	}
	return nil
}

// mayProve refuses proofs to other tenants than the platform's, unless they may know
// how many records all have.
func (s *Server) mayProve(tenant string) error {
	if tenant == "" || s.tenantProofs {
		return nil
	}
	return apierr.New(apierr.PermissionDenied, "proofs tell how many records all tenants have: only the platform's administrators get them here (audit.tenant_proofs)")
}

// exportProofs gives records, each with its proof.
func (s *Server) exportProofs(ctx context.Context, req *edgev1.ExportAuditRequest, q audit.Query, e *audit.Export) error {
	if err := s.mayProve(q.Tenant); err != nil {
		return err
	}
	if req.GetProof() || req.GetFormat() == "csv" {
		return apierr.Invalid("proofs", "proofs: are for exports in jsonl, and not together with proof")
	}
	if err := s.proof.Proofs(ctx, q, e.Keys, e.Proven); err != nil {
		return trailError(err)
	}
	return nil
}

// ProveAuditConsistency proves that a chain begins with what it was.
func (s *Server) ProveAuditConsistency(ctx context.Context, req *edgev1.ProveAuditConsistencyRequest) (*edgev1.ProveAuditConsistencyResponse, error) {
	c, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if s.proof == nil {
		return nil, inFiles()
	}
	if err := s.mayProve(s.visibleTenant(ctx, c, "audit")); err != nil {
		return nil, err
	}
	hashes, err := s.proof.Consistency(ctx, req.GetChain(), req.GetFromSize(), req.GetToSize())
	if err != nil {
		return nil, trailError(err)
	}
	out := new(edgev1.ProveAuditConsistencyResponse)
	for _, h := range hashes {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, nil
}
