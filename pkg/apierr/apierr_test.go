package apierr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestEveryReasonHasItsStatus(t *testing.T) {
	want := map[apierr.Reason]struct {
		http int
		code codes.Code
	}{
		apierr.InvalidArgument: {400, codes.InvalidArgument}, apierr.ContextLengthExceeded: {400, codes.InvalidArgument},
		apierr.ContentBlocked: {400, codes.InvalidArgument}, apierr.FailedPrecondition: {400, codes.FailedPrecondition}, apierr.OutOfRange: {400, codes.OutOfRange}, apierr.Unauthenticated: {401, codes.Unauthenticated},
		apierr.PermissionDenied: {403, codes.PermissionDenied}, apierr.NotFound: {404, codes.NotFound},
		apierr.ModelNotFound: {404, codes.NotFound}, apierr.MethodNotAllowed: {405, codes.Unimplemented},
		apierr.RequestTimeout: {408, codes.DeadlineExceeded},
		apierr.AlreadyExists:  {409, codes.AlreadyExists}, apierr.Conflict: {409, codes.Aborted},
		apierr.PayloadTooLarge: {413, codes.ResourceExhausted}, apierr.UnsupportedMediaType: {415, codes.InvalidArgument},
		apierr.RateLimited: {429, codes.ResourceExhausted}, apierr.QuotaExceeded: {429, codes.ResourceExhausted},
		apierr.Cancelled: {499, codes.Canceled}, apierr.Internal: {500, codes.Internal},
		apierr.Unimplemented: {501, codes.Unimplemented}, apierr.EngineFailed: {502, codes.Internal},
		apierr.Overloaded: {503, codes.Unavailable}, apierr.Unavailable: {503, codes.Unavailable},
		apierr.NotCached:        {504, codes.FailedPrecondition},
		apierr.DeadlineExceeded: {504, codes.DeadlineExceeded}, apierr.StorageFull: {507, codes.ResourceExhausted},
	}
	if len(want) != len(apierr.Reasons()) {
		t.Fatalf("Reasons lists %d, want %d", len(apierr.Reasons()), len(want))
	}
	for _, r := range apierr.Reasons() {
		if w := want[r]; r.HTTPStatus() != w.http || r.Code() != w.code || !r.Known() {
			t.Errorf("%s: %d %v known=%v, want %d %v", r, r.HTTPStatus(), r.Code(), r.Known(), w.http, w.code)
		}
	}
	if r := apierr.Reason("MADE_UP"); r.Known() || r.HTTPStatus() != http.StatusInternalServerError || r.Code() != codes.Internal {
		t.Error("an unknown reason must be internal")
	}
}

func TestErrorTravelsThroughStatus(t *testing.T) {
	for _, r := range apierr.Reasons() {
		sent := apierr.New(r, "message of %s", r).
			WithViolations(apierr.Violation{Field: "a.b[0]", Description: "is bad"}, apierr.Violation{Field: "c", Description: "too"}).
			WithMetadata("model", "m1").WithMetadata(apierr.MetadataRequestID, "req-1").WithRetryAfter(1500 * time.Millisecond)
		got := apierr.From(sent.GRPCStatus().Err())
		if got.Reason != r || got.Message != sent.Message || got.Field != "a.b[0]" || got.RetryAfter != sent.RetryAfter ||
			got.RequestID() != "req-1" || !reflect.DeepEqual(got.Violations, sent.Violations) || !reflect.DeepEqual(got.Metadata, sent.Metadata) {
			t.Errorf("%s arrived as %+v", r, got)
		}
		for _, d := range sent.GRPCStatus().Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && (info.GetDomain() != "poterne.dev" || info.GetMetadata()[apierr.MetadataRequestID] != "") {
				t.Errorf("ErrorInfo: %v", info)
			}
		}
	}
	if got := apierr.From(apierr.Invalid("top_k", "must be positive").GRPCStatus().Err()); got.Field != "top_k" || len(got.Violations) != 1 {
		t.Errorf("the field arrived as %+v", got)
	}
}

func TestCauseIsLoggedAndNeverShown(t *testing.T) {
	cause := errors.New("dial tcp 10.0.0.7: secret")
	e := apierr.Wrap(apierr.EngineFailed, cause, "the engine failed")
	if !errors.Is(e, cause) || !strings.Contains(e.Error(), "10.0.0.7") {
		t.Fatalf("the cause is lost: %v", e)
	}
	if s := e.GRPCStatus(); strings.Contains(s.String(), "10.0.0.7") || s.Message() != "the engine failed" {
		t.Fatalf("shown: %v", s)
	}
	if got := apierr.From(fmt.Errorf("handler: %w", e)); got != e {
		t.Fatalf("From(wrapped) = %v", got)
	}
	if !errors.Is(fmt.Errorf("x: %w", e), &apierr.Error{Reason: apierr.EngineFailed}) || errors.Is(e, &apierr.Error{Reason: apierr.NotFound}) {
		t.Fatal("errors.Is must compare by reason")
	}
}

func TestFromForeignErrors(t *testing.T) {
	foreign := func(c codes.Code, m string) error { return fmt.Errorf("call: %w", status.Error(c, m)) }
	for name, c := range map[string]struct {
		err    error
		reason apierr.Reason
		shown  string // part of the message
		hidden string
	}{
		"unknown":          {errors.New("pq: password"), apierr.Internal, "internal error", "password"},
		"deadline":         {fmt.Errorf("x: %w", context.DeadlineExceeded), apierr.DeadlineExceeded, "deadline", "x:"},
		"cancel":           {context.Canceled, apierr.Cancelled, "cancelled", ""},
		"status internal":  {foreign(codes.Internal, "stack trace"), apierr.Internal, "internal error", "stack"},
		"status unknown":   {foreign(codes.Unknown, "stack trace"), apierr.Internal, "internal error", "stack"},
		"status away":      {foreign(codes.Unavailable, "dial tcp 10.1.1.1"), apierr.Unavailable, "not available", "10.1.1.1"},
		"status deadline":  {foreign(codes.DeadlineExceeded, "context deadline"), apierr.DeadlineExceeded, "deadline", "context"},
		"status not found": {foreign(codes.NotFound, "no such row"), apierr.NotFound, "no such row", ""},
		"status exhausted": {foreign(codes.ResourceExhausted, "slow down"), apierr.RateLimited, "slow down", ""},
		"status too large": {foreign(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"), apierr.PayloadTooLarge, "larger than the limit", ""},
		"status aborted":   {foreign(codes.Aborted, "etag"), apierr.Conflict, "etag", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := apierr.From(c.err)
			if got.Reason != c.reason || !strings.Contains(got.Message, c.shown) || c.hidden != "" && strings.Contains(got.Message, c.hidden) {
				t.Fatalf("From = %s %q", got.Reason, got.Message)
			}
			if !errors.Is(got, c.err) && got.Unwrap() == nil {
				t.Fatal("the cause is lost")
			}
		})
	}
	if apierr.From(nil) != nil || apierr.ReasonOf(nil) != "" {
		t.Fatal("From(nil) must be nil")
	}
	// Another program's reason is not ours, though it has the same name.
	s, err := status.New(codes.Unavailable, "dial 10.0.0.1").WithDetails(&errdetails.ErrorInfo{Reason: "NOT_FOUND", Domain: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if got := apierr.From(s.Err()); got.Reason != apierr.Unavailable || strings.Contains(got.Message, "10.0.0.1") {
		t.Fatalf("From = %+v", got)
	}
}

func TestStatusIsBounded(t *testing.T) {
	e := apierr.New(apierr.InvalidArgument, "%s\xff", strings.Repeat("é", 5000))
	for i := range 500 {
		e = e.WithViolations(apierr.Violation{Field: strings.Repeat("f", 2000), Description: "\xff\xfe"}).
			WithMetadata(fmt.Sprintf("k%d", i), strings.Repeat("v", 5000))
	}
	s := e.GRPCStatus()
	if len(s.Message()) > 2048 || len(s.Details()) != 2 {
		t.Fatalf("%d bytes of message, %d details", len(s.Message()), len(s.Details()))
	}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			if len(d.GetFieldViolations()) != 50 || len(d.GetFieldViolations()[0].GetField()) != 512 {
				t.Fatalf("%d violations", len(d.GetFieldViolations()))
			}
		case *errdetails.ErrorInfo:
			if len(d.GetMetadata()) != 16 {
				t.Fatalf("%d entries", len(d.GetMetadata()))
			}
		}
	}
}

func TestWithCopies(t *testing.T) {
	base := apierr.New(apierr.NotFound, "x").WithMetadata("a", "1")
	_ = base.WithMetadata("b", "2")
	_ = base.WithField("f")
	_ = base.WithViolations(apierr.Violation{Field: "v"})
	if len(base.Metadata) != 1 || base.Field != "" || base.Violations != nil {
		t.Fatalf("a With method changed its receiver: %+v", base)
	}
}
