package gateway

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// UsageExportPath is the path of the export of usage, whose body is CSV.
const UsageExportPath = "/v1/admin/usage:export"

// exportUsage answers GET /v1/admin/usage:export, as backup does. Its parameters are
// those of the list.
func (h *handler) exportUsage(w *writer, r *http.Request) {
	in := new(edgev1.ListUsageRequest)
	values := r.URL.Query()
	if err := new(queryParser).Parse(in, values, utilities.NewDoubleArray(nil)); err != nil {
		writeError(w, r, apierr.Invalid("query", "%s", err))
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="usage.csv"`)
	download(h, w, r, contentTypeCSV, func(ctx context.Context) (pieces[*edgev1.ExportUsageResponse], error) {
		return edgev1.NewUsageServiceClient(h.Conn).ExportUsage(ctx, &edgev1.ExportUsageRequest{Usage: in, Tenant: in.GetTenant()})
	})
}
