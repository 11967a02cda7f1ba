//! The palette: k-means over the colours of training pixels, and the class of a pixel, which is its nearest centre.
//!
//! k-means++ (D. Arthur and S. Vassilvitskii, 2007) chooses the first centres, Lloyd's iteration moves them until they rest; of three
//! restarts the one with the least inertia is taken. Sums run over chunks of fixed length in their order, so that the centres are the same
//! bits on any number of threads.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use trainyard_theory::random::{Generator, Purpose};

use super::Images;

/// The most pixels that the centres are made from.
const MOST_PIXELS: usize = 100_000;
const RESTARTS: u64 = 3;
/// Lloyd's iteration ends here at the latest.
const MOST_ITERATIONS: usize = 300;
/// The centres rest when the squares of their moves sum to less: a twelfth of a byte's step in all.
const REST: f64 = 1e-7;
const CHUNK: usize = 4096;

/// Colours in `[0, 1]`, from dark to bright; the class of a pixel is the position of its colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Palette {
    pub colours: Vec<[f64; 3]>,
}

impl Palette {
    /// The palette of `num_colours` colours of some images: a function of them and the seed. Where the images have fewer different
    /// colours, some of the palette are equal, and of those only the first is ever a class.
    pub fn of(images: &Images, num_colours: usize, seed: u64) -> Self {
        let points = sample(images, &mut Generator::new(seed, Purpose::Clustering, RESTARTS));
        let restarts = (0..RESTARTS).map(|restart| {
            let centres = first_centres(&points, num_colours, &mut Generator::new(seed, Purpose::Clustering, restart));
            lloyd(&points, centres)
        });
        let best = restarts.min_by(|a, b| a.1.total_cmp(&b.1));
        let mut colours = best.map(|(centres, _)| centres).unwrap_or_default();
        colours.sort_by(|a, b| a.iter().sum::<f64>().total_cmp(&b.iter().sum()));
        Self { colours }
    }

    /// The class of every pixel of every image, image after image. A palette has at most 256 colours.
    pub fn classes(&self, images: &Images) -> Vec<u8> {
        let pixels = images.pixels();
        let mut classes = vec![0; images.count() * pixels];
        let nearest = Nearest::new(&self.colours);
        classes.par_chunks_mut(pixels).enumerate().for_each(|(image, classes)| {
            let [red, green, blue] = images.planes(image);
            for (pixel, class) in classes.iter_mut().enumerate() {
                *class = nearest.of(unit([red[pixel], green[pixel], blue[pixel]])).0 as u8;
            }
        });
        classes
    }

    /// A class's colour as bytes, for pictures.
    pub fn bytes(&self, class: u8) -> [u8; 3] {
        let colour = self.colours.get(usize::from(class)).copied().unwrap_or_default();
        colour.map(|value| (value * 256.0).clamp(0.0, 255.0) as u8)
    }
}

fn unit(colour: [u8; 3]) -> [f64; 3] {
    colour.map(|byte| f64::from(byte) / 256.0)
}

fn square_distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    let [x, y, z] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    x * x + y * y + z * z
}

/// All pixels, or one out of each of [`MOST_PIXELS`] equal stretches of them.
fn sample(images: &Images, generator: &mut Generator) -> Vec<[f64; 3]> {
    let total = images.count() * images.pixels();
    if total <= MOST_PIXELS {
        return (0..total).map(|pixel| unit(images.colour(pixel))).collect();
    }
    let stretch_end = |stretch: usize| (stretch as u128 * total as u128 / MOST_PIXELS as u128) as usize;
    (0..MOST_PIXELS)
        .map(|stretch| {
            let (first, end) = (stretch_end(stretch), stretch_end(stretch + 1));
            unit(images.colour(first + generator.below((end - first) as u64) as usize))
        })
        .collect()
}

/// k-means++: each centre is drawn with probability proportional to the square distance from those before it.
fn first_centres(points: &[[f64; 3]], count: usize, generator: &mut Generator) -> Vec<[f64; 3]> {
    let mut centres = vec![points[generator.below(points.len() as u64) as usize]];
    let mut distances = vec![f64::INFINITY; points.len()];
    while centres.len() < count {
        let newest = centres[centres.len() - 1];
        distances
            .par_chunks_mut(CHUNK)
            .zip(points.par_chunks(CHUNK))
            .flat_map_iter(|(distances, points)| distances.iter_mut().zip(points))
            .for_each(|(distance, point)| *distance = distance.min(square_distance(*point, newest)));
        let mut left = distances.iter().sum::<f64>() * generator.uniform();
        let chosen = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Rounding can leave a little over at the end; and where every colour is a centre already, any point will do.
        centres.push(points[chosen.unwrap_or(points.len() - 1)]);
    }
    centres
}

/// Moves the centres to the means of their points until they rest. Returns them with their inertia, the sum of the square distances.
fn lloyd(points: &[[f64; 3]], mut centres: Vec<[f64; 3]>) -> (Vec<[f64; 3]>, f64) {
    let mut inertia = f64::INFINITY;
    for _ in 0..MOST_ITERATIONS {
        let sums = assign(points, &centres);
        inertia = sums.inertia;
        let mut moved = 0.0;
        for (centre, (sum, count)) in centres.iter_mut().zip(sums.means) {
            // A centre that lost all its points goes to the point that is worst off.
            let place = if count == 0 { sums.farthest.1 } else { sum.map(|sum| sum / count as f64) };
            moved += square_distance(*centre, place);
            *centre = place;
        }
        if moved < REST {
            break;
        }
    }
    (centres, inertia)
}

/// What one pass over the points comes to.
struct Sums {
    /// For each centre the sum and the number of its points.
    means: Vec<([f64; 3], u64)>,
    inertia: f64,
    /// The greatest square distance of a point from its centre, and the first point that has it.
    farthest: (f64, [f64; 3]),
}

fn assign(points: &[[f64; 3]], centres: &[[f64; 3]]) -> Sums {
    let nearest = Nearest::new(centres);
    let of_chunk = |points: &[[f64; 3]]| {
        let mut sums = Sums { means: vec![([0.0; 3], 0); centres.len()], inertia: 0.0, farthest: (-1.0, [0.0; 3]) };
        for point in points {
            let (class, distance) = nearest.of(*point);
            let (sum, count) = &mut sums.means[class];
            (0..3).for_each(|channel| sum[channel] += point[channel]);
            *count += 1;
            sums.inertia += distance;
            if distance > sums.farthest.0 {
                sums.farthest = (distance, *point);
            }
        }
        sums
    };
    let chunks: Vec<Sums> = points.par_chunks(CHUNK).map(of_chunk).collect();
    let mut chunks = chunks.into_iter();
    let first = chunks.next().unwrap_or_else(|| of_chunk(&[]));
    chunks.fold(first, |mut total, chunk| {
        for (total, chunk) in total.means.iter_mut().zip(chunk.means) {
            (0..3).for_each(|channel| total.0[channel] += chunk.0[channel]);
            total.1 += chunk.1;
        }
        total.inertia += chunk.inertia;
        if chunk.farthest.0 > total.farthest.0 {
            total.farthest = chunk.farthest;
        }
        total
    })
}

/// Finds nearest centres; channels apart, so that the compiler can compare several centres at once.
struct Nearest {
    channels: [Vec<f64>; 3],
}

impl Nearest {
    fn new(centres: &[[f64; 3]]) -> Self {
        Self { channels: [0, 1, 2].map(|channel| centres.iter().map(|centre| centre[channel]).collect()) }
    }

    /// The nearest centre, the first of equals, and its square distance.
    fn of(&self, point: [f64; 3]) -> (usize, f64) {
        let [red, green, blue] = &self.channels;
        let mut best = (0, f64::INFINITY);
        for (class, ((red, green), blue)) in red.iter().zip(green).zip(blue).enumerate() {
            let distance = square_distance(point, [*red, *green, *blue]);
            if distance < best.1 {
                best = (class, distance);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenes::{self, Part};
    use super::*;

    /// Images of 1×1 pixel with the given colours.
    fn single_pixels(colours: &[[u8; 3]]) -> Images {
        Images::new(1, 1, colours.concat()).unwrap()
    }

    #[test]
    fn well_separated_clusters_are_found_and_their_centres_are_their_means() {
        let clusters = [[20, 20, 20], [200, 30, 40], [40, 60, 220], [240, 240, 250]];
        let colours: Vec<[u8; 3]> = clusters
            .iter()
            .flat_map(|centre| (0..5u8).map(|i| [centre[0] + i, centre[1] + (i * 3) % 5, centre[2] + (i * 2) % 5]))
            .collect();
        let images = single_pixels(&colours);
        for seed in 0..10 {
            let palette = Palette::of(&images, 4, seed);
            for (colour, cluster) in palette.colours.iter().zip([clusters[0], clusters[1], clusters[2], clusters[3]]) {
                let mean = cluster.map(|byte| (f64::from(byte) + 2.0) / 256.0);
                assert!(square_distance(*colour, mean) < 1e-20, "{colour:?} {mean:?}");
            }
            let classes = palette.classes(&images);
            assert_eq!(classes, (0..20).map(|pixel| pixel / 5).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn a_class_is_the_nearest_colour_of_the_palette() {
        let images = scenes::images(Part::Train, 4, 16, 1).unwrap();
        let palette = Palette::of(&images, 24, 0);
        assert_eq!(palette.colours.len(), 24);
        for (pixel, class) in palette.classes(&images).into_iter().enumerate() {
            let point = unit(images.colour(pixel));
            let own = square_distance(point, palette.colours[usize::from(class)]);
            assert!(palette.colours.iter().all(|other| own <= square_distance(point, *other)));
        }
        assert!(palette.colours.windows(2).all(|pair| pair[0].iter().sum::<f64>() <= pair[1].iter().sum()));
    }

    #[test]
    fn fewer_colours_than_centres_make_equal_centres_and_no_nan() {
        let images = single_pixels(&[[10, 20, 30], [10, 20, 30], [200, 100, 0]]);
        let palette = Palette::of(&images, 5, 3);
        assert!(palette.colours.iter().flatten().all(|value| value.is_finite()));
        let classes = palette.classes(&images);
        assert_eq!(classes[0], classes[1]);
        assert_ne!(classes[0], classes[2]);
        assert_eq!(palette.bytes(classes[2]), [200, 100, 0]);
    }

    #[test]
    fn the_palette_is_the_same_bits_on_any_number_of_threads() {
        let images = scenes::images(Part::Train, 120, 32, 2).unwrap();
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Palette::of(&images, 24, 0))
        };
        let one = on(1);
        assert_eq!(one, on(3));
        assert_ne!(one, Palette::of(&images, 24, 1));
    }

    #[test]
    fn lloyd_never_leaves_more_inertia_than_it_found() {
        let images = scenes::images(Part::Train, 8, 16, 4).unwrap();
        let points = sample(&images, &mut Generator::new(0, Purpose::Clustering, 9));
        let centres = first_centres(&points, 12, &mut Generator::new(0, Purpose::Clustering, 0));
        let before = assign(&points, &centres).inertia;
        let (after, inertia) = lloyd(&points, centres);
        assert!(inertia < before);
        assert!(assign(&points, &after).inertia <= inertia * (1.0 + 1e-12));
    }
}
