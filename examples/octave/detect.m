% Makes a capture, has it detected, and rebuilds the received block of what was found; GNU Octave or MATLAB:
%
%     octave examples/octave/detect.m        (jadce has to be on the PATH)

K = 200; T = 12; N = 48; M = 32; P = 8;    % devices, symbols, subcarriers, antennas, paths of a channel
sent = sort(randperm(K, 6)) - 1;           % devices are counted from 0 in files
noise_var = 0.1;

% DFT pilots: exp(-2i pi rows(t, n) k / K) is what device k sends in symbol t on subcarrier n.
pilot_rows = zeros(T, N);
for n = 1:N
  pilot_rows(:, n) = randperm(K, T) - 1;
end

y = sqrt(noise_var / 2) * complex(randn(T, N, M), randn(T, N, M));
for k = sent
  % Paths with delays up to 1 us at 30 kHz, and angles within 20 degrees, on half a wavelength of antenna spacing.
  delays = exp(-2i * pi * 30e3 * (0:N-1)' * 1e-6 * rand(1, P));
  angles = exp(1i * pi * (0:M-1)' * sin(pi * (rand(1) - 0.5) + 0.35 * (rand(1, P) - 0.5)));
  gains = exp(-3 * rand(1, P)) .* complex(randn(1, P), randn(1, P));
  channel = (delays .* gains) * angles.';
  channel = channel / sqrt(mean(abs(channel(:)).^2));
  y = y + exp(-2i * pi * pilot_rows * k / K) .* reshape(channel, 1, N, M);
end
y = single(y); devices = K; activity_rate = 0.03;
save('-v7', 'capture.mat', 'y', 'pilot_rows', 'devices', 'noise_var', 'activity_rate');

[status, printed] = system('jadce detect capture.mat -o result.mat');
if status ~= 0
  error('jadce detect: %s', printed);
end
result = load('result.mat');               % activity, active, channels (A, N, M), channel_var, trusted, ...

left = y;
for a = 1:numel(result.active)
  pilots = exp(-2i * pi * pilot_rows * result.active(a) / K);
  left = left - pilots .* reshape(result.channels(a, :, :), 1, N, M);
end
fprintf('sent:     %s\n', mat2str(sent));
fprintf('detected: %s\n', mat2str(result.active(:)'));
fprintf('trusted: %d, left of the block: %.2f of the noise\n', result.trusted, mean(abs(left(:)).^2) / noise_var);
