//! Families of metrics in the making.

use prometheus::core::Desc;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::shard::{BOUNDS_MICROSECONDS, SharedDurations};

/// Microseconds of a second.
const MICROSECONDS: f64 = 1e6;

/// Names of labels with their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// The families of one scrape.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// Begins a family of counts that only rise.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Series<'_> {
        self.begin(MetricType::COUNTER, name, help)
    }

    /// Begins a family of numbers that rise and fall.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Series<'_> {
        self.begin(MetricType::GAUGE, name, help)
    }

    /// Begins a family of distributions.
    pub(super) fn histogram(&mut self, name: &str, help: &str) -> Series<'_> {
        self.begin(MetricType::HISTOGRAM, name, help)
    }

    pub(super) fn into_inner(self) -> Vec<MetricFamily> {
        self.0
    }

    /// What the registry wants to know of them in advance.
    pub(super) fn descriptions(self) -> Vec<Desc> {
        let of = |family: MetricFamily| {
            let (name, help) = (family.name().to_owned(), family.help().to_owned());
            Desc::new(name, help, Vec::new(), [].into())
                .unwrap_or_else(|error| unreachable!("{}: {error}", family.name()))
        };
        self.0.into_iter().map(of).collect()
    }

    fn begin(&mut self, kind: MetricType, name: &str, help: &str) -> Series<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        self.0.push(family);
        Series { family: self.0.last_mut() }
    }
}

/// The series of the family begun last.
#[derive(Debug)]
pub(super) struct Series<'f> {
    family: Option<&'f mut MetricFamily>,
}

impl Series<'_> {
    /// One number, without labels.
    pub(super) fn is(self, value: u64) {
        self.with(&[], value as f64);
    }

    /// One number, without labels.
    pub(super) fn fraction(self, value: f64) {
        self.with(&[], value);
    }

    /// One number more.
    pub(super) fn with(mut self, labels: Labels<'_>, value: f64) -> Self {
        let counts =
            self.family.as_ref().is_some_and(|f| f.get_field_type() == MetricType::COUNTER);
        let mut metric = Metric::from_label(pairs(labels));
        if counts {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(metric);
        self
    }

    /// One distribution more: that of all these together, in seconds.
    pub(super) fn durations<'s>(
        self,
        labels: Labels<'_>,
        shards: impl Iterator<Item = &'s SharedDurations>,
    ) -> Self {
        let mut counts = [0; BOUNDS_MICROSECONDS.len() + 1];
        let mut microseconds = 0;
        for shard in shards {
            let more = shard.counts();
            counts.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            microseconds += shard.microseconds();
        }
        self.distribution(labels, &BOUNDS_MICROSECONDS, &counts, microseconds)
    }

    /// Adds a sample: how many times were within each bound and above the one before, last those
    /// above all, and all times together, in microseconds.
    pub(super) fn distribution(
        mut self,
        labels: &[(&str, &str)],
        bounds_microseconds: &[u64],
        counts: &[u64],
        microseconds: u64,
    ) -> Self {
        let mut buckets = Vec::new();
        let mut total = 0;
        for (bound, count) in bounds_microseconds.iter().zip(counts) {
            total += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / MICROSECONDS);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(microseconds as f64 / MICROSECONDS);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.push(metric);
        self
    }

    fn push(&mut self, metric: Metric) {
        if let Some(family) = &mut self.family {
            family.mut_metric().push(metric);
        }
    }
}

/// In the order of their names, as the text format has them.
fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
