package agent

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// observeGPUs registers the gauges of the GPUs. What the driver does not tell is
// not shown.
func (a *Agent) observeGPUs(meter metric.Meter) error {
	gauge := func(name, unit, what string, figures func(d gpu.Device, tell func(n int64, more ...attribute.KeyValue))) error {
		_, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				for _, d := range a.devices() {
					figures(d, func(n int64, more ...attribute.KeyValue) {
						if n != gpu.Unknown {
							o.Observe(n, metric.WithAttributes(append(more, attribute.String(keyPool, d.Pool()))...))
						}
					})
				}
				return nil
			}))
		return err
	}
	type tell = func(n int64, more ...attribute.KeyValue)
	return errors.Join(
		gauge(metricGPUMemory, "By", "Memory of the GPUs, whoever takes it.", func(d gpu.Device, t tell) {
			t(d.TotalBytes, attribute.String(keyKind, "total"))
			t(d.UsedBytes, attribute.String(keyKind, "used"))
			t(d.FreeBytes, attribute.String(keyKind, "free"))
		}),
		gauge(metricGPUUtilization, "%", "How busy the GPUs were of late.", func(d gpu.Device, t tell) { t(int64(d.Utilization)) }),
		gauge(metricGPUTemperature, "Cel", "Temperature of the GPUs.", func(d gpu.Device, t tell) { t(int64(d.Temperature)) }),
		gauge(metricGPUErrors, "", "Memory errors of the GPUs that could not be corrected.", func(d gpu.Device, t tell) { t(d.ECCErrors) }),
		gauge(metricGPUProcesses, "", "Processes that compute on the GPUs.", func(d gpu.Device, t tell) { t(int64(len(d.Processes))) }),
	)
}
