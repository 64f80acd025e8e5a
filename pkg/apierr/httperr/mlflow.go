package httperr

import (
	"net/http"

	"github.com/poterne/poterne/pkg/apierr"
)

// MLflow is an error as MLflow's REST API gives it (its proto/databricks.proto
// names the codes), with the member that every answer of this gateway adds.
type MLflow struct {
	ErrorCode string `json:"error_code"`
	Message   string `json:"message"`
	RequestID string `json:"request_id,omitempty"`
}

// WriteMLflow answers with err, which must not be nil, in MLflow's shape.
func WriteMLflow(w http.ResponseWriter, requestID string, err error) {
	e := apierr.From(err)
	if requestID == "" {
		requestID = e.RequestID()
	}
	write(w, e, "application/json", MLflow{ErrorCode: mlflowCode(e.Reason), Message: e.Message, RequestID: requestID})
}

func mlflowCode(r apierr.Reason) string {
	//exhaustive:ignore
	switch r {
	case apierr.InvalidArgument, apierr.OutOfRange, apierr.PayloadTooLarge, apierr.UnsupportedMediaType:
		return "INVALID_PARAMETER_VALUE"
	case apierr.FailedPrecondition:
		return "INVALID_STATE"
	case apierr.NotFound, apierr.ModelNotFound:
		return "RESOURCE_DOES_NOT_EXIST"
	case apierr.AlreadyExists:
		return "RESOURCE_ALREADY_EXISTS"
	case apierr.Conflict:
		return "RESOURCE_CONFLICT"
	case apierr.Unauthenticated:
		return "UNAUTHENTICATED"
	case apierr.PermissionDenied:
		return "PERMISSION_DENIED"
	case apierr.MethodNotAllowed, apierr.Unimplemented:
		return "NOT_IMPLEMENTED"
	case apierr.RateLimited, apierr.QuotaExceeded:
		return "REQUEST_LIMIT_EXCEEDED"
	case apierr.Unavailable, apierr.Overloaded, apierr.DeadlineExceeded:
		return "TEMPORARILY_UNAVAILABLE"
	default:
		return "INTERNAL_ERROR"
	}
}
