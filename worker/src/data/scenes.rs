//! The built-in image set `synthetic`: procedural colour scenes, a function of (seed, role, number).
//!
//! A scene has a sky over a ground and a few things on it. Each material has its own brightness, its own texture and its own colour, so
//! that a network which sees only the grey picture can learn which colour belongs where: smooth and bright is sky, fine dark grain is grass,
//! stripes are brick, a bright disc is the sun.

use rayon::prelude::*;
use trainyard_theory::random::{Generator, Purpose};

use super::{DataError, Images};

/// Which part of the set. Its images are drawn from streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Train,
    Val,
}

/// The first `count` images of `size` × `size` pixels.
///
/// # Errors
/// Where they do not fit into the memory's addresses.
pub fn images(part: Part, count: usize, size: usize, seed: u64) -> Result<Images, DataError> {
    let bytes = size.checked_mul(size).and_then(|pixels| pixels.checked_mul(3)).and_then(|bytes| bytes.checked_mul(count));
    let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok());
    let bytes = bytes.ok_or_else(|| DataError::Spec(format!("{count} images of {size} × {size} pixels are too many")))?;
    let mut pixels = vec![0; bytes];
    // Chunks of no length are none at all, and `Images` refuses a size of 0.
    pixels.par_chunks_mut((3 * size * size).max(1)).enumerate().for_each(|(image, bytes)| {
        let part = match part {
            Part::Train => 0,
            Part::Val => 1 << 40,
        };
        let scene = Scene::draw(&mut Generator::new(seed, Purpose::Image, part + image as u64));
        scene.paint(size, bytes);
    });
    Images::new(size, size, pixels)
}

/// How a surface looks: a colour in `[0, 1]`, and what modulates its brightness.
#[derive(Clone, Copy, Debug)]
struct Material {
    colour: [f64; 3],
    texture: Texture,
    /// How strongly the texture shows, as a share of the brightness.
    contrast: f64,
}

#[derive(Clone, Copy, Debug)]
enum Texture {
    /// Brighter towards the bottom.
    Gradient,
    /// Independent noise in every pixel.
    Grain,
    /// Wide horizontal waves.
    Waves,
    /// Courses of bricks with joints.
    Bricks,
    /// Nothing.
    Plain,
}

const SKY: Material = Material { colour: [0.55, 0.75, 0.95], texture: Texture::Gradient, contrast: 0.25 };
const GRASS: Material = Material { colour: [0.22, 0.50, 0.15], texture: Texture::Grain, contrast: 0.55 };
const SAND: Material = Material { colour: [0.85, 0.75, 0.50], texture: Texture::Grain, contrast: 0.12 };
const WATER: Material = Material { colour: [0.10, 0.30, 0.55], texture: Texture::Waves, contrast: 0.50 };
const BRICK: Material = Material { colour: [0.70, 0.28, 0.20], texture: Texture::Bricks, contrast: 0.45 };
const SUN: Material = Material { colour: [0.98, 0.93, 0.55], texture: Texture::Plain, contrast: 0.0 };
const FIR: Material = Material { colour: [0.06, 0.25, 0.12], texture: Texture::Grain, contrast: 0.35 };
const ROOF: Material = Material { colour: [0.30, 0.16, 0.30], texture: Texture::Plain, contrast: 0.0 };

/// A region of the picture, in units of its side, y downwards.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Disc {
        x: f64,
        y: f64,
        radius: f64,
    },
    Box {
        left: f64,
        right: f64,
        top: f64,
        bottom: f64,
    },
    /// Pointing upwards.
    Triangle {
        x: f64,
        top: f64,
        bottom: f64,
        half_width: f64,
    },
}

impl Shape {
    fn contains(self, x: f64, y: f64) -> bool {
        match self {
            Self::Disc { x: centre, y: middle, radius } => (x - centre).powi(2) + (y - middle).powi(2) <= radius * radius,
            Self::Box { left, right, top, bottom } => (left..right).contains(&x) && (top..bottom).contains(&y),
            Self::Triangle { x: centre, top, bottom, half_width } => {
                (top..bottom).contains(&y) && (x - centre).abs() <= half_width * (y - top) / (bottom - top)
            }
        }
    }
}

/// Surfaces from back to front.
struct Scene {
    surfaces: Vec<(Shape, Material)>,
    /// Brightness of the whole scene.
    light: f64,
    /// Where the waves and the bricks begin.
    phase: f64,
    grain: Generator,
}

impl Scene {
    fn draw(generator: &mut Generator) -> Self {
        let horizon = generator.uniform_between(0.35, 0.65);
        let all = |top, bottom| Shape::Box { left: 0.0, right: 1.0, top, bottom };
        let ground = [GRASS, SAND, WATER][generator.below(3) as usize];
        let mut surfaces = vec![(all(0.0, 1.0), SKY), (all(horizon, 1.0), ground)];
        if generator.below(2) == 0 {
            let (x, y) = (generator.uniform(), generator.uniform_between(0.05, horizon - 0.1));
            surfaces.insert(1, (Shape::Disc { x, y, radius: generator.uniform_between(0.07, 0.14) }, SUN));
        }
        for _ in 0..generator.below(3) + 1 {
            let x = generator.uniform();
            let bottom = generator.uniform_between(horizon, 0.95);
            let height = generator.uniform_between(0.2, 0.45);
            let half_width = generator.uniform_between(0.08, 0.2);
            let top = bottom - height;
            if generator.below(2) == 0 {
                surfaces.push((Shape::Box { left: x - half_width, right: x + half_width, top, bottom }, BRICK));
                surfaces.push((Shape::Triangle { x, top: top - 0.12, bottom: top, half_width: half_width * 1.2 }, ROOF));
            } else {
                surfaces.push((Shape::Triangle { x, top, bottom, half_width }, FIR));
            }
        }
        let light = generator.uniform_between(0.8, 1.0);
        let phase = generator.uniform();
        Self { surfaces, light, phase, grain: generator.clone() }
    }

    /// Writes the three planes of a picture of `size` × `size` pixels.
    fn paint(mut self, size: usize, bytes: &mut [u8]) {
        let (red, rest) = bytes.split_at_mut(size * size);
        let (green, blue) = rest.split_at_mut(size * size);
        for row in 0..size {
            for column in 0..size {
                let [x, y] = [column, row].map(|place| (place as f64 + 0.5) / size as f64);
                let colour = self.colour(x, y);
                let place = row * size + column;
                [red[place], green[place], blue[place]] = colour.map(|value| (value * 256.0).clamp(0.0, 255.0) as u8);
            }
        }
    }

    fn colour(&mut self, x: f64, y: f64) -> [f64; 3] {
        // One draw a pixel, whatever lies there, so that a picture's noise does not depend on its shapes.
        let grain = self.grain.uniform();
        let front = self.surfaces.iter().rev().find(|(shape, _)| shape.contains(x, y));
        let material = front.map_or(SKY, |(_, material)| *material);
        let shade = match material.texture {
            Texture::Gradient => y,
            Texture::Grain => grain,
            Texture::Waves => 0.5 + 0.5 * (40.0 * (y + 0.02 * (9.0 * x).sin()) + std::f64::consts::TAU * self.phase).sin(),
            Texture::Bricks => {
                let course = (y + self.phase) * 10.0;
                let along = x * 5.0 + 0.5 * (course.floor() % 2.0);
                if course.fract() < 0.3 || along.fract() < 0.15 { 1.0 } else { 0.0 }
            }
            Texture::Plain => 0.5,
        };
        let brightness = self.light * (1.0 + material.contrast * (shade - 0.5));
        material.colour.map(|value| value * brightness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_functions_of_seed_part_and_number() {
        let set = images(Part::Train, 3, 16, 5).unwrap();
        assert_eq!(set, images(Part::Train, 3, 16, 5).unwrap());
        assert_eq!(images(Part::Train, 2, 16, 5).unwrap().bytes(), &set.bytes()[..2 * 3 * 256]);
        assert_ne!(images(Part::Val, 3, 16, 5).unwrap(), set);
        assert_ne!(images(Part::Train, 3, 16, 6).unwrap(), set);
        assert_ne!(set.planes(0), set.planes(1));
    }

    #[test]
    fn pictures_are_in_colour_and_grey_tells_materials_apart() {
        let set = images(Part::Train, 50, 32, 0).unwrap();
        let saturated = (0..50 * 1024).map(|pixel| set.colour(pixel)).filter(|colour| {
            let (least, most) = colour.iter().fold((u8::MAX, 0), |(least, most), value| (least.min(*value), most.max(*value)));
            most - least > 40
        });
        assert!(saturated.count() > 50 * 1024 * 3 / 4);
        // The mean greys of the materials, which a network tells colours by, are far apart.
        let mut greys: Vec<f64> = [SKY, GRASS, WATER, BRICK, SUN, FIR].map(|material| material.colour.iter().sum::<f64>() / 3.0).to_vec();
        greys.sort_by(f64::total_cmp);
        assert!(greys[5] - greys[0] > 0.5);
    }

    #[test]
    fn any_size_is_painted_and_an_impossible_one_refused() {
        assert_eq!(images(Part::Val, 1, 4, 0).unwrap().count(), 1);
        assert!(matches!(images(Part::Val, usize::MAX, 1024, 0), Err(DataError::Spec(_))));
        assert!(images(Part::Val, 1, 0, 0).is_err());
    }
}
