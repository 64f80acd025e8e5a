package middleware

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/requestid"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/inhand"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

// audit records every request but those that need no caller, which ask about
// the gateway itself and would fill the trail with health checks. It is outside
// of the steps that decide, so that refusals are recorded too, and of handlers
// that panic, which it records as failed. Since no call must be forgotten, it is
// also where the calls in hand are known, and where one that the gateway's end
// cuts gets its answer.
func (s *steps) audit() grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: NameAudit,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
			b, err := s.begin(ctx, info.FullMethod)
			if err != nil {
				return nil, err
			}
			err = errUnfinished
			defer func() {
				if unkept := b.end(err); unkept != nil {
					resp, err = nil, unkept
				}
			}()
			resp, err = handler(b.ctx, req)  //nolint:contextcheck // it is made of the call's
			err = inhand.Outcome(b.ctx, err) //nolint:contextcheck // it is made of the call's
			if content := b.entry.Content(); content != nil && err == nil {
				content.Answer(resp, false)
			}
			if cost := costOf(b.entry); cost != nil && err == nil {
				_ = unaryHeader(ctx).set(cost) // the answer is there, and goes out without it
			}
			return resp, err
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
			b, err := s.begin(ss.Context(), info.FullMethod)
			if err != nil {
				return err
			}
			err = errUnfinished
			defer func() {
				if unkept := b.end(err); unkept != nil {
					err = unkept
				}
			}()
			ss = grpcserver.WithContext(ss, b.ctx)
			if s.Contents {
				ss = &gatheredStream{ServerStream: ss, entry: b.entry}
			}
			err = inhand.Outcome(b.ctx, handler(srv, ss))
			ss.SetTrailer(costOf(b.entry)) // the header was sent before it was known
			return err
		},
	}
}

// gatheredStream has the pieces of an answer kept that is to be kept.
type gatheredStream struct {
	grpc.ServerStream
	entry *audit.Entry
}

// SendMsg notes what the caller gets.
func (s *gatheredStream) SendMsg(m any) error {
	if content := s.entry.Content(); content != nil {
		content.Answer(m, true)
	}
	return s.ServerStream.SendMsg(m)
}

// errUnfinished is what a handler that panicked answered, as far as the record
// goes.
var errUnfinished = apierr.New(apierr.Internal, "the handler did not return")

// begun is a request that was begun, and must be ended.
type begun struct {
	steps  *steps
	ctx    context.Context //nolint:containedctx // the request's, from here on
	method string
	start  time.Time
	entry  *audit.Entry // nil: it has no record
	taken  bool         // over from the door
	done   func()       // ends its part of the calls in hand
}

// begin takes a request in hand, and opens its record or takes that over from the door.
func (s *steps) begin(ctx context.Context, method string) (begun, error) {
	ctx, done := s.Calls.Begin(ctx)
	b := begun{steps: s, ctx: ctx, method: method, done: done}
	if s.Methods[method].Access == authz.Public {
		return b, nil
	}
	a := admitted(ctx)
	if a != nil {
		if err := a.call(); err != nil {
			done()
			return begun{}, err
		}
		b.entry, b.start, b.taken = a.entry, a.start, true
	} else {
		if err := s.Trail.Admit(ctx); err != nil {
			done()
			return begun{}, err
		}
		b.start = s.Clock.Now()
		b.entry = s.open(ctx, b.start)
		s.InHand.Add(b.entry)
		atDoor(ctx, done)
	}
	b.entry.SetRequest(requestid.FromContext(ctx), method)
	b.ctx = &passage{Context: ctx, admission: a, entry: b.entry}
	return b, nil
}

// end ends the request, which answered err. It writes its record, and returns an error
// for a request that must not be answered without one.
func (b *begun) end(err error) error {
	switch {
	case b.entry == nil:
		b.done()
		return nil
	case !b.taken && !leave(b.ctx):
		return nil // the call that the request became has taken over
	}
	s := b.steps
	defer b.done()
	defer s.InHand.Remove(b.entry)
	if !b.taken && b.entry.Omitted() {
		s.Trail.Forgo()
		return nil
	}
	return s.keep(b.ctx, b.entry, b.method, b.start, err)
}

// keep writes the record of a request. Of a change that was begun it waits until the
// store has it.
func (s *steps) keep(ctx context.Context, entry *audit.Entry, method string, start time.Time, err error) error {
	rec := s.record(ctx, entry, method, start, err)
	conclude(entry, &rec, err)
	var sealed *audit.Sealed
	if content := entry.Content(); content != nil {
		of := rec // most have none, and the record costs no memory of its own
		sealed = content.Seal(ctx, &of)
		rec = of
	}
	unkept := s.Trail.AppendWith(ctx, &rec, sealed)
	if unkept == nil && entry.Begun() {
		unkept = s.Trail.Settle(ctx)
	}
	return unkept
}

// intent notes a change before it is made. It stands behind the steps that decide,
// so that only what is let through is noted.
func (s *steps) intent() grpcserver.Interceptor {
	first := func(string) bool { return true }
	return messageStep(NameIntent, first, func(ctx context.Context, method string, _ any, _ headers) error {
		entry := audit.From(ctx)
		if entry == nil || !changes(method, s.Classes[method]) {
			return nil
		}
		rec := s.record(ctx, entry, method, s.Clock.Now(), nil)
		rec.Duration = 0
		if err := s.Trail.Begin(ctx, rec); err != nil {
			return err
		}
		entry.SetBegun()
		return nil
	})
}

// changes reports whether a method is an administrative change: everything of class
// write but users' own documents, files in pieces, and verdicts, which are traffic.
func changes(method string, c limit.Class) bool {
	if c != limit.Write {
		return false
	}
	switch method {
	case searchv1.SearchService_BatchUpsertDocuments_FullMethodName, searchv1.SearchService_ImportDocuments_FullMethodName,
		edgev1.FileService_UploadFile_FullMethodName, edgev1.FileService_GetFileContent_FullMethodName,
		searchv1.SearchService_DeleteDocument_FullMethodName, searchv1.SearchService_BackupCollection_FullMethodName,
		registryv1.ArtifactService_AppendUpload_FullMethodName, registryv1.RegistryService_ReportOutcomes_FullMethodName,
		edgev1.UsageService_CheckUsage_FullMethodName, edgev1.UsageService_ExportUsage_FullMethodName,
		edgev1.AuditService_VerifyAudit_FullMethodName, edgev1.AuditService_ExportAudit_FullMethodName, // as long as a write may take
		registryv1.RegistryService_RecordFeedback_FullMethodName, edgev1.FeedbackService_CreateFeedback_FullMethodName:
		return false
	}
	return true
}

func (s *steps) record(ctx context.Context, entry *audit.Entry, method string, start time.Time, err error) audit.Record {
	rec := entry.Record()
	rec.RequestID, rec.Method = requestid.FromContext(ctx), method
	rec.Time, rec.Duration = start, s.Clock.Now().Sub(start)
	rec.Decision = audit.Allowed
	if err != nil {
		reason := apierr.ReasonOf(err)
		rec.Reason = string(reason)
		if refusal(reason) || entry.Refused() {
			rec.Decision = audit.Refused
		}
	}
	return rec
}

// refusal reports whether an error of this reason means that the gateway did
// not let the request through, as against one that was let through and failed.
func refusal(r apierr.Reason) bool {
	//exhaustive:ignore
	switch r {
	case apierr.Unauthenticated, apierr.PermissionDenied, apierr.RateLimited, apierr.QuotaExceeded, apierr.InvalidArgument,
		apierr.PayloadTooLarge, apierr.RequestTimeout, apierr.UnsupportedMediaType, apierr.ContentBlocked:
		return true
	default:
		return false
	}
}
