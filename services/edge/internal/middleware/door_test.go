package middleware

import (
	"context"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// TestAdmissionIsForOneCall holds that what the door found serves one call, and
// that a request has one record, whoever comes first.
func TestAdmissionIsForOneCall(t *testing.T) {
	released := 0
	made := func() (context.Context, *admission) {
		a := &admission{ctx: t.Context(), done: func() { released++ }}
		return context.WithValue(t.Context(), admissionKey{}, a), a
	}
	ctx, a := made()
	if err := a.call(); err != nil || leave(ctx) {
		t.Fatalf("the call's record is the door's: %v", err)
	}
	if err := a.call(); apierr.ReasonOf(err) != apierr.Internal || released != 1 {
		t.Errorf("a second call: %v, released %d times", err, released)
	}
	ctx, a = made()
	if !leave(ctx) || leave(ctx) {
		t.Error("the door writes not one record")
	}
	if err := a.call(); apierr.ReasonOf(err) != apierr.Internal {
		t.Errorf("a call after the end: %v", err)
	}
}

// TestAdmissionCannotBeBrought holds that a call from outside, whatever it says,
// is admitted by the steps alone.
func TestAdmissionCannotBeBrought(t *testing.T) {
	a := &admission{ctx: t.Context(), done: func() {}}
	ctx := context.WithValue(t.Context(), admissionKey{}, a) // even if it could
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(authn.Header, "Bearer x"))
	if admitted(ctx) != nil {
		t.Error("a call that was not made within this process is admitted")
	}
	if err := Refuse(t.Context(), context.Canceled); err != context.Canceled { //nolint:errorlint // the same error
		t.Errorf("without a door: %v", err)
	}
}
