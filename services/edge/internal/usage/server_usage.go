package usage

import (
	"bytes"
	"context"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/price"
)

const (
	maxModels = 1000
	// exportedAtOnce is the rows of an export that are read at once.
	exportedAtOnce = 1000
	checkedDays    = 31
	maxCheckedDays = 366
)

// GetOwnUsage tells what the caller used.
func (s *Server) GetOwnUsage(ctx context.Context, req *edgev1.GetOwnUsageRequest) (*edgev1.GetOwnUsageResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	u := s.usage
	now := u.d.Clock.Now().UTC()
	from, to, err := window(req.GetFrom(), req.GetTo(), now)
	if err != nil {
		return nil, err
	}
	if err := u.writer.Flush(ctx); err != nil {
		return nil, storeError(err)
	}
	q := ledger.Query{From: from, To: to, Now: now, Tenant: c.Tenant, KeyID: c.KeyID, By: []string{"model"}, Limit: maxModels}
	if c.KeyID == "" {
		q.Subject = c.Subject
	}
	rows, err := u.store.List(ctx, q)
	if err != nil {
		return nil, storeError(err)
	}
	q.By, q.Limit = nil, 1
	total, err := u.store.List(ctx, q)
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.GetOwnUsageResponse{Total: new(edgev1.UsageRow), Currency: u.cfg.Currency}
	for _, r := range total {
		out.Total = rowMessage(r, q)
	}
	for _, r := range rows {
		out.Models = append(out.Models, rowMessage(r, q))
	}
	out.Budgets, err = s.standings(ctx, u.keeper.Of(budgetCaller(c)))
	return out, err
}

// ListUsage lists sums.
func (s *Server) ListUsage(ctx context.Context, req *edgev1.ListUsageRequest) (*edgev1.ListUsageResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	q, err := s.query(ctx, c, req)
	if err != nil {
		return nil, err
	}
	limit, offset, err := pageOf(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	q.Limit, q.Offset = limit+1, offset
	if err := s.usage.writer.Flush(ctx); err != nil {
		return nil, storeError(err)
	}
	rows, err := s.usage.store.List(ctx, q)
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.ListUsageResponse{Currency: s.usage.cfg.Currency}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextPageToken = strconv.Itoa(offset + limit)
	}
	for _, r := range rows {
		out.Rows = append(out.Rows, rowMessage(r, q))
	}
	return out, nil
}

// query reads what a request asks for.
func (s *Server) query(ctx context.Context, c identity.Caller, req *edgev1.ListUsageRequest) (ledger.Query, error) {
	now := s.usage.d.Clock.Now().UTC()
	from, to, err := window(req.GetFrom(), req.GetTo(), now)
	if err != nil {
		return ledger.Query{}, err
	}
	q := ledger.Query{
		From: from, To: to, Now: now, Tenant: s.tenant(ctx, c, req.GetTenant(), "usage"), KeyID: req.GetKeyId(), Subject: req.GetSubject(),
		Kind: req.GetKind(), Arm: req.GetArm(), Experiment: req.GetExperiment(),
	}
	if req.GetModel() != "" {
		t, err := price.ParseTarget(req.GetModel(), "")
		if err != nil || t.Digest != "" || t.Model == price.Every {
			return q, apierr.Invalid("model", "model must be a name such as chat, or a version such as chat@v3")
		}
		q.Model, q.Version = t.Model, t.Version
	}
	for _, by := range req.GetGroupBy() {
		switch {
		case by == ledger.ByHour || by == ledger.ByDay || by == ledger.ByMonth:
			if q.Time != "" && q.Time != by {
				return q, apierr.Invalid("group_by", "group_by must not have more than one of hour, day and month")
			}
			q.Time = by
		case slices.Contains(ledger.ByNames(), by):
			q.By = append(q.By, by)
		default:
			return q, apierr.Invalid("group_by", "group_by must be of %s, hour, day and month", strings.Join(ledger.ByNames(), ", "))
		}
	}
	if utf8Broken(q.Tenant, q.KeyID, q.Subject, q.Kind, q.Model, q.Arm, q.Experiment) {
		return q, apierr.New(apierr.InvalidArgument, "a filter has a character that no name has")
	}
	return q, nil
}

// utf8Broken reports whether a text has what PostgreSQL does not take.
func utf8Broken(texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return strings.ContainsRune(s, 0) })
}

func rowMessage(r ledger.Row, q ledger.Query) *edgev1.UsageRow {
	out := &edgev1.UsageRow{
		Tenant: r.Tenant, KeyId: r.KeyID, Subject: r.Subject, Kind: r.Kind, Model: r.Model, Version: r.Version, Variant: r.Variant,
		Experiment: r.Experiment, Arm: r.Arm, Requests: r.Requests, PartialRequests: r.Partial, UnpricedRequests: r.Unpriced,
		InputTokens: r.Input, CachedTokens: r.Cached, OutputTokens: r.Output, Cost: r.Cost,
		CacheHits: r.Hits, SavedInputTokens: r.SavedInput, SavedOutputTokens: r.SavedOutput,
		ReasoningTokens: r.Reasoning, AudioInputTokens: r.AudioInput, AudioOutputTokens: r.AudioOutput, Documents: r.Documents,
	}
	if q.Time != "" {
		out.Time = timestamppb.New(r.Start)
	}
	return out
}

// ExportUsage gives sums as CSV, page by page.
func (s *Server) ExportUsage(req *edgev1.ExportUsageRequest, out grpc.ServerStreamingServer[edgev1.ExportUsageResponse]) error {
	ctx := out.Context()
	c, err := s.begin(ctx)
	if err != nil {
		return err
	}
	q, err := s.query(ctx, c, req.GetUsage())
	q.Tenant = s.tenant(ctx, c, req.GetTenant(), "usage")
	if err != nil {
		return err
	}
	if err := s.usage.writer.Flush(ctx); err != nil {
		return storeError(err)
	}
	q.Limit = exportedAtOnce
	for first := true; ; first = false {
		rows, err := s.usage.store.List(ctx, q)
		if err != nil {
			return storeError(err)
		}
		data, err := lines(rows, q, first, s.usage.cfg.Currency)
		if err != nil {
			return err
		}
		if len(data) > 0 {
			if err := out.Send(&edgev1.ExportUsageResponse{Data: data}); err != nil {
				return err
			}
		}
		if len(rows) < q.Limit {
			return nil
		}
		q.Offset += len(rows)
	}
}

// lines are rows as CSV (RFC 4180).
func lines(rows []ledger.Row, q ledger.Query, first bool, currency string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	var by []string
	if q.Time != "" {
		by = append(by, "time")
	}
	for _, name := range ledger.ByNames() {
		if slices.Contains(q.By, name) {
			by = append(by, name)
		}
	}
	if first {
		_ = w.Write(append(slices.Clone(by), "requests", "partial_requests", "unpriced_requests", "input_tokens", "cached_tokens", "output_tokens", "cost", "currency", "cache_hits", "saved_input_tokens", "saved_output_tokens",
			"reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "documents"))
	}
	for _, r := range rows {
		values := map[string]string{
			"time": r.Start.Format(time.RFC3339), "tenant": r.Tenant, "key": r.KeyID, "subject": r.Subject, "kind": r.Kind, "model": r.Model,
			"version": strconv.Itoa(int(r.Version)), "variant": r.Variant, "experiment": r.Experiment, "arm": r.Arm,
		}
		line := make([]string, 0, len(by)+15)
		for _, name := range by {
			line = append(line, plain(values[name]))
		}
		for _, n := range []int64{r.Requests, r.Partial, r.Unpriced, r.Input, r.Cached, r.Output} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		line = append(line, price.Micros(r.Cost).String(), currency)
		for _, n := range []int64{r.Hits, r.SavedInput, r.SavedOutput, r.Reasoning, r.AudioInput, r.AudioOutput, r.Documents} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		_ = w.Write(line)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the export cannot be written")
	}
	return b.Bytes(), nil
}

// plain has a spreadsheet take a text for a text, and not for a formula (OWASP, CSV
// injection).
func plain(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// CheckUsage adds everything up anew.
func (s *Server) CheckUsage(ctx context.Context, req *edgev1.CheckUsageRequest) (*edgev1.CheckUsageResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	now := s.usage.d.Clock.Now().UTC()
	from := req.GetFrom()
	if from == nil {
		end := now
		if req.GetTo() != nil {
			end = req.GetTo().AsTime()
		}
		from = timestamppb.New(end.AddDate(0, 0, -checkedDays))
	}
	begin, end, err := window(from, req.GetTo(), now)
	if err != nil {
		return nil, err
	}
	if end.Sub(begin) > maxCheckedDays*24*time.Hour {
		return nil, apierr.Invalid("from", "from and to must not be more than %d days apart", maxCheckedDays)
	}
	if err := s.usage.writer.Flush(ctx); err != nil {
		return nil, storeError(err)
	}
	report, err := s.usage.store.Check(ctx, begin, end)
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.CheckUsageResponse{AddsUp: report.Count == 0, Requests: report.Requests, DifferenceCount: report.Count}
	for _, d := range report.Differences {
		out.Differences = append(out.Differences, &edgev1.UsageDifference{Table: d.Table, Row: d.Row, Recorded: d.Recorded, Computed: d.Computed})
	}
	return out, nil
}
